//! The packs that come with Tidings.

const PACKS: &[(&str, &str)] = &[
    (
        "reference",
        include_str!("../../../config/rules/reference.toml"),
    ),
    (
        "turbobackend",
        include_str!("../../../config/rules/turbobackend.toml"),
    ),
    (
        "dokploy",
        include_str!("../../../config/rules/dokploy.toml"),
    ),
    (
        "coolify",
        include_str!("../../../config/rules/coolify.toml"),
    ),
];

/// The text of a pack that comes with Tidings.
pub fn builtin(name: &str) -> Option<&'static str> {
    let pack = PACKS.iter().find(|(known, _)| *known == name);
    pack.map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PackSource, Rules};

    #[test]
    fn every_pack_that_comes_along_compiles_under_its_own_name() {
        for (name, text) in PACKS {
            let source = PackSource {
                origin: (*name).to_owned(),
                text: (*text).to_owned(),
                schema: None,
            };
            let rules = Rules::compile(&[source]).unwrap_or_else(|errors| panic!("{errors}"));
            assert!(rules.rules().all(|rule| rule.name.starts_with(name)));
        }
        assert_eq!(builtin("nothing"), None);
    }
}
