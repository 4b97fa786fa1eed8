//! What somebody who wrote an unknown name may have meant.

/// The nearest known name, else all of them.
pub(crate) fn hint(what: &str, name: &str, known: &[&str]) -> Option<String> {
    match nearest(name, known.iter().copied()) {
        Some(nearest) => Some(format!("did you mean {nearest}?")),
        None if known.is_empty() => None,
        None => Some(format!("a {what} is one of {}", known.join(", "))),
    }
}

/// The known name that is meant, if one is near.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (far, nearest) = known.map(|known| (distance(name, known), known)).min()?;
    (far <= 1 + name.len() / 4).then_some(nearest)
}

/// How many characters must be changed, added or removed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let next = (diagonal + usize::from(x != *y))
                .min(left + 1)
                .min(*cell + 1);
            diagonal = std::mem::replace(cell, next);
            left = next;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_the_nearest() {
        assert_eq!(
            hint("filter", "jion", &["join", "unique"]).as_deref(),
            Some("did you mean join?")
        );
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
