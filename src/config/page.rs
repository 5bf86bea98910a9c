//! The page of all keys, with their defaults and what they mean, and the JSON Schema that it is made from.
//!
//! Both come from the config types alone: doc comments, serde attributes, `impl Default`s and `#[schemars(example)]`s.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::Config;

const INTRODUCTION: &str = r##"Every key of a config, with its default. `polygate config` writes this page.

`#key = value`, with no space after the #, is a key that is absent by default, with an example of its value. A section
that starts with # is absent by default, or another form of the section before it; it counts without the first # of
each of its lines. Sections of two brackets, [[feature]], may stand several times, in any of the forms shown.

`polygate config --schema` writes the JSON Schema of this page, by which editors complete and check a config; see
`polygate config --help`."##;

/// The JSON Schema of a config file.
pub fn schema() -> Value {
    schemars::schema_for!(Config).to_value()
}

/// The page: TOML that holds every key of every section, with its meaning and its default.
pub fn annotated() -> String {
    let sections: String = sections(&schema()).iter().map(Section::shown).collect();
    comment(INTRODUCTION) + &sections
}

/// A table of the page.
struct Section {
    introduction: String,
    /// Empty for the root.
    header: String,
    keys: String,
    /// Whether it does not count as it stands on the page.
    absent: bool,
}

impl Section {
    /// Its TOML, as if it counted.
    fn text(&self) -> String {
        let header = if self.header.is_empty() { String::new() } else { format!("{}\n", self.header) };
        format!("\n{}{header}{}", self.introduction, self.keys)
    }

    fn shown(&self) -> String {
        if !self.absent {
            return self.text();
        }
        let mark = |line: &str| if line.is_empty() || is_prose(line) { "" } else { "#" };
        self.text().lines().map(|line| format!("{}{line}\n", mark(line))).collect()
    }
}

/// Whether a line explains, so that it is not TOML even without its #.
fn is_prose(line: &str) -> bool {
    line == "#" || line.starts_with("# ")
}

fn sections(schema: &Value) -> Vec<Section> {
    let mut page = Page { definitions: &schema["$defs"], sections: Vec::new() };
    page.table(schema, "", String::new(), String::new(), false);
    page.sections
}

struct Page<'a> {
    definitions: &'a Value,
    sections: Vec<Section>,
}

impl<'a> Page<'a> {
    /// Adds a table and those within it.
    fn table(&mut self, table: &'a Value, path: &str, header: String, introduction: String, absent: bool) {
        let keys = || table["properties"].as_object().into_iter().flatten();
        let is_required =
            |name: &String| table["required"].as_array().is_some_and(|names| names.iter().any(|n| n == name));
        let values = keys().filter(|(_, key)| self.forms(key).is_none());
        let values = values.map(|(name, key)| self.key(name, key, is_required(name))).collect();
        self.sections.push(Section { introduction, header, keys: values, absent });
        for (name, key) in keys() {
            if let Some(forms) = self.forms(key) {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                self.tables(key, &forms, &path, absent);
            }
        }
    }

    /// Adds each form of the tables that a key holds.
    fn tables(&mut self, key: &'a Value, forms: &[&'a Value], path: &str, absent: bool) {
        let of_type = self.resolved(key);
        let (header, many) = match of_type["type"] == "array" {
            true => (format!("[[{path}]]"), true),
            false => (format!("[{path}]"), false),
        };
        // Lists at the root, as of features, are what a config is made of.
        let optional = key.get("default").is_some_and(|default| default.is_null() || *default == Value::Array(vec![]));
        let absent = absent || optional && (!many || path.contains('.'));
        for (i, form) in forms.iter().enumerate() {
            let item = if many { self.resolved(&of_type["items"]) } else { of_type };
            let mut said: Vec<&Value> = [key, item, form].into_iter().map(|said| &said["description"]).collect();
            said.dedup();
            let introduction = said.into_iter().skip(if i == 0 { 0 } else { 2 }).filter_map(Value::as_str).map(comment);
            self.table(form, path, header.clone(), introduction.collect(), absent || (i > 0 && !many));
        }
    }

    /// The tables that a key may hold, one or a list of them; `None` where it holds a value.
    fn forms(&self, key: &'a Value) -> Option<Vec<&'a Value>> {
        let mut held = self.resolved(key);
        if held["type"] == "array" {
            held = self.resolved(&held["items"]);
        }
        let forms = match held["oneOf"].as_array() {
            Some(forms) => forms.iter().map(|form| self.resolved(form)).collect(),
            None => vec![held],
        };
        forms.iter().all(|form| form["properties"].is_object()).then_some(forms)
    }

    /// The schema itself behind references and options.
    fn resolved(&self, schema: &'a Value) -> &'a Value {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
            return self.resolved(&self.definitions[name]);
        }
        match schema["anyOf"].as_array().map(Vec::as_slice) {
            Some([schema, null]) if null["type"] == "null" => self.resolved(schema),
            _ => schema,
        }
    }

    /// A key that holds a value: what it means, what it takes, its default.
    fn key(&self, name: &str, key: &'a Value, required: bool) -> String {
        if let Some(tag) = key.get("const") {
            return format!("{name} = {}\n", toml(tag));
        }
        let said = key["description"].as_str().map(comment).unwrap_or_default();
        let mut text = format!("\n{said}{}", self.choices(key));
        let example = key["examples"].get(0);
        match key.get("default").filter(|default| !default.is_null()) {
            Some(default) => {
                if let Some(example) = example {
                    text += &comment(&format!("Example: {name} = {}", toml(example)));
                }
                _ = writeln!(text, "{name} = {}", toml(default));
            }
            None => {
                let mark = if required { "" } else { "#" };
                _ = writeln!(text, "{mark}{name} = {}", toml(&example.cloned().unwrap_or_else(|| self.any(key))));
            }
        }
        text
    }

    /// The values of an enum, and the tables that may stand in place of a value.
    fn choices(&self, key: &'a Value) -> String {
        let schema = self.resolved(key);
        let mut text = String::new();
        for choice in ["oneOf", "anyOf"].into_iter().flat_map(|key| schema[key].as_array().into_iter().flatten()) {
            let choice = self.resolved(choice);
            let said = choice["description"].as_str().map(|said| format!(": {said}")).unwrap_or_default();
            if let Some(value) = choice.get("const") {
                text += &indented("  ", &format!("{}{said}", toml(value)));
            } else if let Some(properties) = choice["properties"].as_object() {
                let names: Vec<&str> = properties.keys().map(String::as_str).collect();
                text += &indented("  ", &format!("{{ {} }}{said}", names.join(", ")));
                for (name, property) in properties {
                    let said = property["description"].as_str().unwrap_or_default();
                    text += &indented("    ", &format!("{name}: {said}"));
                }
            }
            text += &listed(choice);
        }
        text + &listed(schema)
    }

    /// A value of a key's type, where nothing says a better one.
    fn any(&self, key: &'a Value) -> Value {
        let schema = self.resolved(key);
        let choice = schema["oneOf"].get(0).or(schema["anyOf"].get(0)).unwrap_or(schema);
        let kind = choice["type"].get(0).unwrap_or(&choice["type"]);
        match kind.as_str() {
            _ if choice.get("const").is_some() => choice["const"].clone(),
            _ if choice["enum"].is_array() => choice["enum"][0].clone(),
            Some("integer") => 0.into(),
            Some("number") => 0.0.into(),
            Some("boolean") => false.into(),
            Some("array") => Value::Array(Vec::new()),
            Some("object") => Value::Object(Map::new()),
            _ => "".into(),
        }
    }
}

/// The values of an enum that have no text of their own, in a line.
fn listed(schema: &Value) -> String {
    let values: Vec<String> = schema["enum"].as_array().into_iter().flatten().map(toml).collect();
    if values.is_empty() { String::new() } else { indented("  ", &values.join(", ")) }
}

/// A value as TOML writes it on one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(keys) if keys.is_empty() => "{}".into(),
        Value::Object(keys) => {
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect();
            format!("{{ {} }}", keys.join(", "))
        }
        // JSON's numbers, booleans and strings are TOML's.
        _ => value.to_string(),
    }
}

fn comment(text: &str) -> String {
    indented("", text)
}

/// Lines of a comment, wrapped; rustdoc's brackets around links are left out.
fn indented(indent: &str, text: &str) -> String {
    const WIDTH: usize = 118;
    let text = text.replace("[`", "`").replace("`]", "`");
    let mut out = String::new();
    for (i, paragraph) in text.split("\n\n").enumerate() {
        if i > 0 {
            out += "#\n";
        }
        let mut line = format!("#{indent}");
        for word in paragraph.split_whitespace() {
            if line.len() + word.len() > WIDTH {
                out += &line;
                line = format!("\n#{indent}");
                if !indent.is_empty() {
                    line += "  ";
                }
            }
            _ = write!(line, " {word}");
        }
        out += &line;
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page where section `i` counts, in place of the others of its header, with `keys`.
    fn with(sections: &[Section], i: usize, keys: &str) -> Result<Config, toml::de::Error> {
        let text = |(j, section): (usize, &Section)| match () {
            () if i == j => format!("{}\n{keys}\n", section.header),
            () if section.absent || section.header == sections[i].header => String::new(),
            () => section.text(),
        };
        toml::from_str(&sections.iter().enumerate().map(text).collect::<String>())
    }

    #[test]
    fn the_page_in_docs_is_the_one_that_the_command_writes() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.toml");
        let written = std::fs::read_to_string(file).unwrap();
        assert!(written == annotated(), "docs/config.toml is out of date: cargo run -- config > docs/config.toml");
    }

    #[test]
    fn the_page_is_a_config_as_it_stands_and_with_each_section_that_is_absent() {
        toml::from_str::<Config>(&annotated()).unwrap();
        let sections = sections(&schema());
        assert!(sections.iter().filter(|section| section.absent).count() > 5);
        for (i, section) in sections.iter().enumerate() {
            with(&sections, i, &section.keys).unwrap_or_else(|error| panic!("{error}\n{}", section.keys));
        }
    }

    #[test]
    fn every_key_that_is_absent_has_an_example_that_its_type_takes() {
        let sections = sections(&schema());
        for (i, section) in sections.iter().enumerate() {
            for line in section.keys.lines().filter(|line| line.starts_with('#') && !is_prose(line)) {
                let keys = section.keys.replace(&format!("\n{line}\n"), &format!("\n{}\n", &line[1..]));
                with(&sections, i, &keys).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
    }

    /// serde's own list of keys, from its error about a key that is not one of them.
    #[test]
    fn every_section_has_every_key_that_serde_knows() {
        let sections = sections(&schema());
        for (i, section) in sections.iter().enumerate() {
            let keys = section.keys.clone() + "no_such_key = 0";
            let error = with(&sections, i, &keys).unwrap_err().to_string();
            let (_, known) = error.split_once("expected ").unwrap_or_else(|| panic!("{}: {error}", section.header));
            let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
            assert!(!known.is_empty(), "{error}");
            let path = section.header.trim_matches(['[', ']']);
            for key in known {
                let line = |line: &str| line.trim_start_matches('#').starts_with(&format!("{key} = "));
                let within = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                let is_section = sections.iter().any(|other| other.header.trim_matches(['[', ']']) == within);
                assert!(is_section || section.keys.lines().any(line), "{key} is not in {}", section.keys);
            }
        }
    }

    #[test]
    fn a_default_that_a_doc_comment_names_is_the_default() {
        let mut named = 0;
        let schema = schema();
        let mut stack = vec![&schema];
        while let Some(at) = stack.pop() {
            stack
                .extend(at.as_array().into_iter().flatten().chain(at.as_object().into_iter().flat_map(|o| o.values())));
            let (Some(said), Some(default)) = (at["description"].as_str(), at.get("default")) else { continue };
            let Some((_, said)) = said.split_once("Default: ") else { continue };
            let said = said.split_whitespace().next().unwrap_or_default().trim_end_matches('.').trim_matches('"');
            let holds = match default {
                Value::Number(number) => said.parse::<f64>().ok() == number.as_f64(),
                Value::Bool(value) => said.parse() == Ok(*value),
                Value::String(text) => said == text,
                _ => continue,
            };
            assert!(holds, "a doc comment says {said}, `impl Default` {default}");
            named += 1;
        }
        assert!(named > 10, "{named}");
    }
}
