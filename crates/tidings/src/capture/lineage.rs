use store::progress::Lineage;

/// Whether stored positions belong to the cluster, timeline and publication that we are connected
/// to; else what differs and what to do.
pub fn check(stored: &Lineage, found: &Lineage, publication: &str) -> Result<(), String> {
    let renew = "`tidings setup --new-slot` accepts that and goes on from now; of what was committed in \
                 between it finds final states";
    if stored.system_id != found.system_id {
        return Err(format!(
            "this is another cluster: its system identifier is {}, progress was made on {}. Point \
             database.url at the right one. If the cluster was replaced, {renew}",
            found.system_id, stored.system_id
        ));
    }
    if stored.timeline != found.timeline {
        return Err(format!(
            "the cluster is on timeline {}, progress was made on timeline {}: a standby was promoted or \
             a backup was restored. {renew}",
            found.timeline, stored.timeline
        ));
    }
    if stored.publication_oid != found.publication_oid {
        return Err(format!(
            "publication {publication} was dropped and recreated (OID {}, was {}): what was committed \
             while it was gone is not in the stream. {renew}",
            found.publication_oid, stored.publication_oid
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_is_named_with_what_to_do() {
        let stored = Lineage {
            system_id: "7".into(),
            timeline: 1,
            publication_oid: 16400,
        };
        assert_eq!(check(&stored, &stored, "tidings"), Ok(()));
        let others = [
            (
                Lineage {
                    system_id: "8".into(),
                    ..stored.clone()
                },
                "another cluster",
            ),
            (
                Lineage {
                    timeline: 2,
                    ..stored.clone()
                },
                "timeline 2",
            ),
            (
                Lineage {
                    publication_oid: 16401,
                    ..stored.clone()
                },
                "dropped and recreated",
            ),
        ];
        for (found, named) in others {
            let told = check(&stored, &found, "tidings").unwrap_err();
            assert!(
                told.contains(named) && told.contains("--new-slot"),
                "{told}"
            );
        }
    }
}
