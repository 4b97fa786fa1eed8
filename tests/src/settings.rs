use toml::{Table, Value};

/// What goes into a tidings.toml, by dotted keys.
#[derive(Clone, Debug, Default)]
pub struct Settings(Table);

impl Settings {
    /// Sets `section.key`; later values replace earlier ones.
    ///
    /// # Panics
    /// If part of the key stands for a value already.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        let (path, last) = key.rsplit_once('.').unwrap_or(("", key));
        let sections = path.split('.').filter(|section| !section.is_empty());
        let section = sections.fold(&mut self.0, |table, section| {
            let entry = table.entry(section).or_insert_with(|| Table::new().into());
            entry.as_table_mut().expect("a section is a table")
        });
        section.insert(last.to_owned(), value.into());
        self
    }

    /// Declares an endpoint with these keys, in place of one of the same name.
    pub fn endpoint(&mut self, name: &str, keys: Table) -> &mut Self {
        let list = self
            .0
            .entry("endpoints")
            .or_insert_with(|| Value::Array(Vec::new()));
        let list = list.as_array_mut().expect("endpoints is a list");
        list.retain(|endpoint| endpoint.get("name").and_then(Value::as_str) != Some(name));
        let mut endpoint = keys;
        endpoint.insert("name".to_owned(), name.into());
        list.push(endpoint.into());
        self
    }

    pub fn render(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_keys_become_sections_and_endpoints_a_list() {
        let mut settings = Settings::default();
        settings
            .set("capture.slot", "one")
            .set("capture.slot", "two");
        settings.set("webhooks.allow_networks", vec!["127.0.0.0/8"]);
        settings.endpoint("ops", Table::new());
        let rendered = settings.render();
        assert!(
            rendered.contains("[capture]\nslot = \"two\"\n"),
            "{rendered}"
        );
        assert!(
            rendered.contains("[[endpoints]]\nname = \"ops\"\n"),
            "{rendered}"
        );
    }
}
