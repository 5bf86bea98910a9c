//! Tables that start from a file.

use safetensors::SafeTensors;

use crate::harness::Place;

#[test]
fn a_run_may_start_its_tables_from_those_of_another_run() {
    let place = Place::trained(&[]);
    let item = |file: &str| {
        let bytes = place.bytes(file);
        SafeTensors::deserialize(&bytes).unwrap().tensor("embedding.item.weight").unwrap().data().to_vec()
    };
    let config = place.read("run.toml");
    let slow = config.replace("learning_rate = 1e-2", "learning_rate = 1e-30");
    place.write("run.toml", format!("{slow}\n[[table]]\nname = \"item\"\ninit = \"run/best.safetensors\"\n"));
    place.train(&["--out", "second", "--seed", "9"]).succeeds();
    assert!(item("second/last.safetensors") == item("run/best.safetensors"));
    place.train(&["--out", "third", "--seed", "9", "--set", "table=[]"]).succeeds();
    assert!(item("third/last.safetensors") != item("run/best.safetensors"));
}

#[test]
fn a_table_that_is_no_table_is_named_twice_or_lacks_its_file_ends_in_one_line() {
    let place = Place::new();
    let config = place.read("run.toml");
    place.write("run.toml", format!("{config}\n[[table]]\nname = \"itme\"\n"));
    place.refuses_to_train(&[], &["[[table]] itme", "no feature makes such a table", "user, item"]);
    place.write("run.toml", format!("{config}\n[[table]]\nname = \"item\"\n[[table]]\nname = \"item\"\n"));
    place.refuses_to_train(&[], &["run.toml", "table.name = item", "two [[table]]"]);
    place.write("run.toml", format!("{config}\n[[table]]\nname = \"item\"\ninit_tensor = \"a\"\n"));
    place.refuses_to_train(&[], &["run.toml", "table item: init_tensor = a: needs init; name the file"]);
}
