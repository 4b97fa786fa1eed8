use anyhow::{anyhow, bail};

/// A request as somebody wrote it down.
#[derive(Debug)]
pub struct Captured {
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Captured {
    /// From request line, headers, an empty line and the body. Lines may end with or without a carriage
    /// return; the body is taken byte for byte.
    pub fn whole(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut rest = bytes;
        loop {
            let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| {
                anyhow!("no empty line ends the headers, so where the body begins is unknown")
            })?;
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            if line.trim_ascii().is_empty() {
                break;
            }
        }
        let (head, body) = bytes.split_at(bytes.len() - rest.len());
        Self::parts(head, body.to_vec())
    }

    /// From headers, one a line, and the body. A request line may stand before them.
    pub fn parts(head: &[u8], body: Vec<u8>) -> anyhow::Result<Self> {
        let head = std::str::from_utf8(head).map_err(|_| anyhow!("the headers are no text"))?;
        let mut headers = Vec::new();
        for (number, line) in (1..).zip(head.lines()) {
            let line = line.trim();
            // Of HTTP/2 the request line is written as :method, :path and so on.
            if line.is_empty() || line.starts_with(':') || is_request_line(line) {
                continue;
            }
            match line.split_once(':') {
                Some((name, value)) if is_name(name) => {
                    headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
                _ => bail!("line {number} of the headers is not like 'name: value'"),
            }
        }
        Ok(Self { headers, body })
    }

    /// The value of a header; of several the first.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn is_request_line(line: &str) -> bool {
    let mut words = line.rsplit(' ');
    words.next().is_some_and(|word| word.starts_with("HTTP/")) && words.count() == 2
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_request_is_read_with_either_line_ending_and_its_body_untouched() {
        for head in [
            "POST /hook HTTP/1.1\r\nHost: h\r\nWebhook-Id:  a \r\n\r\n",
            "POST /hook HTTP/2\nwebhook-id: a\n\n",
            ":method: POST\nwebhook-id: a\n \n",
            "webhook-id: a\nWEBHOOK-ID: b\n\n",
        ] {
            let body = b"{\n\n\xFF}\r\n";
            let captured = Captured::whole(&[head.as_bytes(), body].concat()).unwrap();
            assert_eq!(captured.header("webhook-id"), Some("a"), "{head}");
            assert_eq!(captured.body, body);
        }
    }

    #[test]
    fn an_empty_body_and_values_with_colons_are_read() {
        let captured = Captured::whole(b"date: 08:49:37\n\n").unwrap();
        assert_eq!(captured.header("date"), Some("08:49:37"));
        assert!(captured.body.is_empty() && captured.header("host").is_none());
    }

    #[test]
    fn what_is_no_request_is_named_with_its_line() {
        for (text, says) in [
            (b"webhook-id: a\n".as_slice(), "no empty line"),
            (b"", "no empty line"),
            (b"webhook-id: a\nno header\n\n", "line 2"),
            (b": a\nbad name: a\n\n", "line 2"),
            (b"\xFF: a\n\n", "no text"),
        ] {
            let error = Captured::whole(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
