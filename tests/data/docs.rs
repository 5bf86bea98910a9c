//! The examples of docs/data.md are what they say.

use polygate::config::TableConfig;
use polygate::data::fnv1a;

use crate::files::Sections;

const PAGE: &str = include_str!("../../docs/data.md");

/// The code blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let opens = format!("```{language}\n");
    PAGE.split(&opens).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn every_toml_block_is_part_of_a_config() {
    let blocks = blocks("toml");
    assert!(blocks.len() >= 3);
    for block in blocks {
        let text = if block.contains("[data]") { block.to_owned() } else { format!("[data]\n{block}") };
        if block.contains("[[table]]") {
            let table: toml::Table = toml::from_str(block).unwrap();
            let tables: Vec<TableConfig> = table["table"].clone().try_into().unwrap();
            assert!(tables[0].init.is_some());
            continue;
        }
        let parsed = toml::from_str::<Sections>(&text).unwrap_or_else(|error| panic!("{block}\n{error}"));
        assert!(parsed.feature.len() + parsed.data.train.len() > 0);
    }
}

#[test]
fn the_hashed_rows_that_it_asserts_in_python_are_those_here() {
    let asserts = blocks("python").into_iter().flat_map(str::lines).filter_map(|line| line.strip_prefix("assert row("));
    let mut found = 0;
    for line in asserts {
        let (call, wanted) = line.split_once(") == ").unwrap();
        let (text, buckets) = call.split_once(", ").unwrap();
        let row = 1 + fnv1a(text.trim_matches('"')) % buckets.parse::<u64>().unwrap();
        assert_eq!(row, wanted.parse::<u64>().unwrap(), "{line}");
        found += 1;
    }
    assert_eq!(found, 3);
}
