//! Texts of rows made fit for a vendor's field: clean, escaped, and never longer than it may be.

/// Stands where a text was cut.
const ELLIPSIS: char = '…';

/// Writes each character through `write` until the result would have more than `max` UTF-16 code
/// units, the most careful reading of a vendor's "characters"; then it ends with an ellipsis. What
/// `write` appends for one character stays whole. `max` is at least 1.
pub(super) fn bounded(
    text: impl IntoIterator<Item = char>,
    max: usize,
    mut write: impl FnMut(&mut String, char),
) -> String {
    let mut out = String::new();
    let (mut used, mut safe) = (0, 0);
    for character in text {
        let before = out.len();
        write(&mut out, character);
        used += out.get(before..).map_or(0, units);
        if used > max {
            out.truncate(safe);
            out.push(ELLIPSIS);
            return out;
        }
        if used < max {
            safe = out.len();
        }
    }
    out
}

/// The length of a text in UTF-16 code units.
pub(crate) fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// A clean text of any number of lines, at most `max` units long.
pub(crate) fn lines(text: &str, max: usize) -> String {
    bounded(clean(text), max, String::push)
}

/// The same on one line.
pub(crate) fn line(text: &str, max: usize) -> String {
    let one = clean(text).map(|c| if c == '\n' { ' ' } else { c });
    bounded(one, max, String::push)
}

/// Without what moves a terminal or a screen: control characters become blanks, and what turns the
/// direction of the text around it, so that a sentence reads as another, is left out.
fn clean(text: &str) -> impl Iterator<Item = char> {
    let kept = text.trim().chars().filter(|c| !turns_around(*c));
    kept.map(|c| match c {
        '\n' => '\n',
        c if c.is_control() => ' ',
        c => c,
    })
}

const fn turns_around(character: char) -> bool {
    matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_fits_is_left_whole_and_what_does_not_ends_with_an_ellipsis() {
        assert_eq!(line("abc", 3), "abc");
        assert_eq!(line("abcd", 3), "ab…");
        assert_eq!(line("a😀😀", 4), "a😀…");
        assert_eq!(line("é", 1), "é");
        assert_eq!(line("éé", 1), "…");
    }

    #[test]
    fn controls_become_blanks_and_nothing_turns_the_text_around() {
        assert_eq!(line(" a\u{0}b\nc\u{202E}d\u{1b}[31m ", 20), "a b cd [31m");
        assert_eq!(lines("a\r\nb", 20), "a \nb");
    }

    #[test]
    fn what_stands_for_one_character_is_never_cut_apart() {
        let write = |out: &mut String, _: char| out.push_str("&amp;");
        assert_eq!(bounded("&&".chars(), 10, write), "&amp;&amp;");
        assert_eq!(bounded("&&".chars(), 9, write), "&amp;…");
        assert_eq!(bounded("&&".chars(), 5, write), "…");
    }

    proptest! {
        #[test]
        fn no_text_is_longer_than_it_may_be(text: String, max in 1_usize..40) {
            prop_assert!(units(&lines(&text, max)) <= max);
            prop_assert!(!line(&text, max).contains('\n'));
        }
    }
}
