//! Whether the run role may do what it must, and no more. Pure.

use activity::TableName;
use store::catalog::Role;
use store::doctor::Powers;
use store::quote_identifier;
use store::setup::{Found, Step, StepKind, Wanted, rights};

use super::check::{Check, Complaint};

/// The name of a role of our own, where the one in use can not be made less.
const OWN_ROLE: &str = "tidings";

/// Attributes and memberships. `grants` are all that a least-privileged role needs.
pub fn role(powers: &Powers, grants: &[String]) -> Check {
    let role = quote_identifier(&powers.name);
    let mut complaints = Vec::new();
    if !powers.login {
        complaints.push(Complaint::fail(
            format!("role {role} lacks the LOGIN attribute"),
            format!("alter role {role} login; -- as a superuser"),
        ));
    }
    if !powers.replication && !powers.superuser {
        complaints.push(Complaint::fail(
            format!("role {role} lacks the REPLICATION attribute"),
            format!(
                "alter role {role} replication; -- as a superuser; on Amazon RDS: grant rds_replication to {role};"
            ),
        ));
    }
    if powers.superuser {
        let first = match powers.bootstrap {
            true => format!(
                "create role {} login replication; -- with a password if your server asks for one; name it in database.url, and {role} in database.admin_url",
                quote_identifier(&own_role(powers))
            ),
            false => format!("alter role {role} nosuperuser replication; -- as another superuser"),
        };
        let mend: Vec<&str> = std::iter::once(first.as_str())
            .chain(grants.iter().map(String::as_str))
            .collect();
        complaints.push(Complaint::warn(
            format!("role {role} is a superuser, and `tidings run` needs none"),
            mend.join("\n"),
        ));
    }
    complaints.extend(excess(powers, &role));
    Check::of(
        "role",
        format!("{role}: LOGIN, REPLICATION, and no more than it needs"),
        complaints,
    )
}

/// The role that is to do the work of this one with fewer rights.
pub fn own_role(powers: &Powers) -> String {
    match (powers.superuser && powers.bootstrap, powers.name.as_str()) {
        (false, name) => name.to_owned(),
        (true, OWN_ROLE) => format!("{OWN_ROLE}_run"),
        (true, _) => OWN_ROLE.to_owned(),
    }
}

fn excess(powers: &Powers, role: &str) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (has, attribute, without) in [
        (powers.create_role, "make roles", "nocreaterole"),
        (powers.create_database, "make databases", "nocreatedb"),
    ] {
        if has && !powers.superuser {
            complaints.push(Complaint::warn(
                format!("role {role} may {attribute}, and `tidings run` makes none"),
                format!("alter role {role} {without}; -- as a superuser"),
            ));
        }
    }
    for member in &powers.memberships {
        complaints.push(Complaint::warn(
            format!("role {role} is a member of {member}, which reaches far beyond its tables"),
            format!("revoke {member} from {role}; -- as a superuser"),
        ));
    }
    if !powers.owns.is_empty() {
        let tables = named(&powers.owns);
        complaints.push(Complaint::warn(
            format!("role {role} owns {tables}: a mistake of ours could alter them"),
            format!(
                "create role {} login replication; -- as a superuser; name it in database.url, {role} in database.admin_url, then run `tidings setup`",
                quote_identifier(&format!("{}_run", powers.name))
            ),
        ));
    }
    if !powers.writes.is_empty() {
        let tables = named(&powers.writes);
        complaints.push(Complaint::warn(
            format!("role {role} may change {tables}, which it only reads"),
            format!("revoke insert, update, delete, truncate on table {tables} from {role}; -- as their owner; PUBLIC and roles that it is a member of may have it, too"),
        ));
    }
    complaints
}

fn named(tables: &[TableName]) -> String {
    let tables: Vec<String> = tables.iter().map(ToString::to_string).collect();
    tables.join(", ")
}

/// Everything that a role of this name without any right needs, as statements.
pub fn least_privilege(
    wanted: &Wanted,
    found: &Found,
    all: &[(TableName, String)],
    role: &str,
) -> Vec<String> {
    let wanted = Wanted {
        role: role.to_owned(),
        ..wanted.clone()
    };
    let found = Found {
        role: Some(Role {
            superuser: false,
            replication: true,
            member: false,
        }),
        may_insert: false,
        unreadable: all.to_vec(),
        ..found.clone()
    };
    let mut statements = sql(&rights(&wanted, &found));
    if found.schema_exists && found.server.user != role {
        statements.push(handover(&wanted.schema, role));
    }
    statements
}

/// Makes a role the owner of the sidecar's schema and of its tables.
fn handover(schema: &str, role: &str) -> String {
    let (schema, role) = (quote_identifier(schema), quote_identifier(role));
    let name = schema.replace('\'', "''");
    let owner = role.replace('\'', "''");
    format!(
        "alter schema {schema} owner to {role}; do $$ declare t regclass; begin for t in select oid from pg_class \
         where relnamespace = '{name}'::regnamespace and relkind in ('r', 'p') loop \
         execute 'alter table ' || t || ' owner to {owner}'; end loop; end $$; \
         grant all on schema {schema} to {role}; grant all on all tables in schema {schema} to {role};"
    )
}

pub fn sql(steps: &[Step]) -> Vec<String> {
    let statements = steps.iter().filter(|step| step.kind == StepKind::Statement);
    statements.map(|step| step.sql.clone()).collect()
}

/// What `setup` grants, of which something may have been taken back. `unwritable` are tables of the
/// sidecar's schema, `None` the schema itself.
pub fn grants(wanted: &Wanted, found: &Found, unwritable: &[Option<String>]) -> Check {
    const NAME: &str = "grants";
    let role = quote_identifier(&wanted.role);
    let mut complaints = Vec::new();
    if !unwritable.is_empty() && found.schema_exists {
        let what: Vec<&str> = unwritable
            .iter()
            .map(|table| table.as_deref().unwrap_or("the schema itself"))
            .collect();
        complaints.push(Complaint::fail(
            format!(
                "role {role} may not use all of schema {}: {}",
                quote_identifier(&wanted.schema),
                what.join(", ")
            ),
            format!(
                "{} -- as a superuser",
                handover(&wanted.schema, &wanted.role)
            ),
        ));
    }
    for step in rights(wanted, found) {
        let what = match step.why.strip_prefix("so that the run role can ") {
            Some(what) => format!("role {role} can not {what}"),
            None => format!("role {role} lacks rights for {}", step.why),
        };
        // Without the others capture goes on.
        let sql = format!("{} -- as the tables' owner or a superuser", step.sql);
        complaints.push(match step.sql.contains("grant insert") {
            true => Complaint::fail(what, sql),
            false => Complaint::warn(what, sql),
        });
    }
    if !found.actions_table_exists || !found.schema_exists {
        let granted: Vec<String> = sql(&rights(wanted, found));
        let granted = granted.iter().flat_map(|sql| sql.split_inclusive("; "));
        let why = ["nothing was set up yet; setup grants what the role lacks:"];
        let mut lines = why.to_vec();
        for grant in granted.map(str::trim) {
            // Each right brings what it needs besides.
            if !lines.contains(&grant) {
                lines.push(grant);
            }
        }
        return Check::skipped(NAME, lines.join("\n"));
    }
    let well = match found.role.is_some_and(|role| role.superuser) {
        true => format!("{role} is a superuser"),
        false => {
            format!("{role} may write actions, read what rules name, and guard the publication")
        }
    };
    Check::of(NAME, well, complaints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Status;

    fn powers() -> Powers {
        Powers {
            name: "tidings".to_owned(),
            login: true,
            replication: true,
            connection_limit: -1,
            ..Powers::default()
        }
    }

    #[test]
    fn a_least_privileged_role_is_well_and_one_without_replication_is_not() {
        assert_eq!(role(&powers(), &[]).status, Status::Ok);
        let lacking = Powers {
            replication: false,
            ..powers()
        };
        let check = role(&lacking, &[]);
        assert_eq!(check.status, Status::Fail);
        assert!(
            check
                .mend
                .unwrap()
                .starts_with("alter role \"tidings\" replication;")
        );
    }

    #[test]
    fn a_role_that_has_too_much_is_a_warning_with_the_grants_of_one_that_has_not() {
        let grants = ["grant insert on table t to \"tidings\";".to_owned()];
        let superuser = Powers {
            superuser: true,
            ..powers()
        };
        let check = role(&superuser, &grants);
        assert_eq!(check.status, Status::Warn);
        let mend = check.mend.unwrap();
        assert!(
            mend.starts_with("alter role \"tidings\" nosuperuser replication;"),
            "{mend}"
        );
        assert!(mend.ends_with(&grants[0]), "{mend}");

        let bootstrap = Powers {
            name: "postgres".to_owned(),
            bootstrap: true,
            ..superuser
        };
        let mend = role(&bootstrap, &grants).mend.unwrap();
        assert!(
            mend.starts_with("create role \"tidings\" login replication;"),
            "{mend}"
        );
        assert_eq!(own_role(&bootstrap), "tidings");
    }

    #[test]
    fn each_right_too_many_is_named_with_the_statement_that_takes_it_back() {
        let table = TableName::new("public", "projects");
        let much = Powers {
            create_role: true,
            create_database: true,
            memberships: vec!["pg_write_all_data".to_owned()],
            writes: vec![table],
            ..powers()
        };
        let check = role(&much, &[]);
        assert_eq!(check.status, Status::Warn);
        let mend = check.mend.unwrap();
        for statement in [
            "alter role \"tidings\" nocreaterole;",
            "alter role \"tidings\" nocreatedb;",
            "revoke pg_write_all_data from \"tidings\";",
            "revoke insert, update, delete, truncate on table public.projects from \"tidings\";",
        ] {
            assert!(mend.contains(statement), "{statement} is not in {mend}");
        }
    }
}
