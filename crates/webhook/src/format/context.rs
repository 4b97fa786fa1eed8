//! What a format needs besides the notification: the link to where a person can see more.

use std::borrow::Cow;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::{Error, Notification};

/// The longest link, in bytes: the least of what vendors take.
const LINK_BYTES_MAX: usize = 2048;

/// What RFC 3986 calls unreserved stays as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What formats need to know of the deployment that they write for.
#[derive(Clone, Debug, Default)]
pub struct FormatContext {
    link: Option<Link>,
}

impl FormatContext {
    /// `link` is where a person can see more of an action, such as
    /// `https://app.example/activity/{action_id}`, with `{action_id}`, `{project_id}` and `{seq}`.
    ///
    /// # Errors
    /// [`Error::InvalidFormat`] says what is wrong with it.
    pub fn new(link: Option<&str>) -> Result<Self, Error> {
        let link = link.filter(|link| !link.is_empty());
        let link = link.map(Link::parse).transpose()?;
        Ok(Self { link })
    }

    /// Where a person can see more; none without a template, or where it names the project and the
    /// action has none.
    pub(super) fn link(&self, notification: &Notification<'_>) -> Option<String> {
        self.link.as_ref()?.of(notification)
    }
}

/// A link with places for what an action is known by.
#[derive(Clone, Debug)]
struct Link(Arc<[Piece]>);

#[derive(Debug)]
enum Piece {
    Literal(String),
    ActionId,
    ProjectId,
    Seq,
}

impl Link {
    fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > LINK_BYTES_MAX {
            return Err(invalid("is longer than 2048 bytes"));
        }
        let foreign = |c: char| c.is_whitespace() || c.is_control() || "<>|\"\\^`".contains(c);
        if text.contains(foreign) {
            return Err(invalid(
                "holds a character that no URL may hold: write it as %XX",
            ));
        }
        let pieces = pieces(text)?;
        let link = Self(pieces.into());
        let tried = link.fill("a", Some("p"), 1).unwrap_or_default();
        let url = Url::parse(&tried).map_err(|_| invalid("is not a URL"))?;
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
            return Err(invalid("is not a URL that begins with https:// or http://"));
        }
        Ok(link)
    }

    fn of(&self, notification: &Notification<'_>) -> Option<String> {
        let project_id = notification.action.project_id.as_deref();
        let link = self.fill(notification.action_id, project_id, notification.seq.get())?;
        (link.len() <= LINK_BYTES_MAX).then_some(link)
    }

    fn fill(&self, action_id: &str, project_id: Option<&str>, seq: i64) -> Option<String> {
        let encoded = |text| Cow::from(utf8_percent_encode(text, ENCODED));
        let filled = self.0.iter().map(|piece| match piece {
            Piece::Literal(text) => Some(Cow::from(text)),
            Piece::ActionId => Some(encoded(action_id)),
            Piece::ProjectId => project_id.map(encoded),
            Piece::Seq => Some(seq.to_string().into()),
        });
        filled.collect()
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| invalid("has a { without its }"))?;
        pieces.push(Piece::Literal(literal.to_owned()));
        pieces.push(match name {
            "action_id" => Piece::ActionId,
            "project_id" => Piece::ProjectId,
            "seq" => Piece::Seq,
            _ => {
                return Err(invalid(
                    "names something else than {action_id}, {project_id} and {seq}",
                ));
            }
        });
        rest = after;
    }
    if rest.contains('}') {
        return Err(invalid("has a } without its {"));
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    Ok(pieces)
}

fn invalid(reason: &str) -> Error {
    Error::InvalidFormat(format!("the template of links {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn link(template: &str, project_id: Option<&str>) -> Option<String> {
        let mut sample = sample("deployment", Timestamp::UNIX_EPOCH);
        sample.action.project_id = project_id.map(str::to_owned);
        let context = FormatContext::new(Some(template)).unwrap();
        context.link(&sample.notification())
    }

    #[test]
    fn what_names_an_action_is_put_in_its_place_percent_encoded() {
        let template = "https://app.example/p/{project_id}/{seq}?a={action_id}#top";
        assert_eq!(
            link(template, Some("a b/ü?")).unwrap(),
            "https://app.example/p/a%20b%2F%C3%BC%3F/0?a=sample_0000000000000000#top"
        );
        assert_eq!(link(template, None), None);
        assert_eq!(link(template, Some(&"x".repeat(3000))), None);
        assert!(link("https://app.example/{seq}", None).is_some());
    }

    #[test]
    fn a_template_that_never_makes_a_link_is_refused_with_the_reason() {
        for (template, says) in [
            ("app.example/{seq}", "not a URL"),
            ("javascript:alert({seq})", "https://"),
            ("https://app.example/{id}", "{action_id}"),
            ("https://app.example/{seq", "without its }"),
            ("https://app.example/seq}", "without its {"),
            ("https://app.example/a b", "%XX"),
            ("https://app.example/<b>", "%XX"),
            ("{seq}", "not a URL"),
        ] {
            let error = FormatContext::new(Some(template)).unwrap_err().to_string();
            assert!(error.contains(says), "{template}: {error}");
        }
        assert!(FormatContext::new(Some("")).unwrap().link.is_none());
    }

    proptest! {
        #[test]
        fn a_link_is_a_url_whatever_the_project(project in ".{0,50}") {
            let link = link("https://app.example/{project_id}/x", Some(&project)).unwrap();
            let url = Url::parse(&link).unwrap();
            prop_assert_eq!(url.host_str(), Some("app.example"));
        }
    }
}
