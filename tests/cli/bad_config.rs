//! Configs and overrides that are refused.

use crate::harness::Place;

#[track_caller]
fn refused(set: &[&str], texts: &[&str]) {
    let args: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
    Place::new().refuses_to_train(&args, texts);
}

#[test]
fn an_unknown_key_is_told_with_its_file_and_line_and_the_nearest_valid_one() {
    let place = Place::new();
    place.edit("run.toml", "batch_size", "batchsize");
    place.refuses_to_train(&[], &["run.toml", "line 39", "`batchsize`", "did you mean `batch_size`?"]);
    place.edit("run.toml", "batchsize", "batch_size");
    // Within what `family` and `kind` decide, the section is shown in place of the line.
    place.edit("run.toml", "expert_units", "expert_unit");
    place.refuses_to_train(&[], &["run.toml", "[model]", "`expert_unit`", "did you mean `expert_units`?"]);
}

#[test]
fn an_unknown_key_of_an_override_is_told_with_the_nearest_valid_one() {
    refused(&["train.epoch=3"], &["run.toml", "`epoch`", "`train`", "did you mean `epochs`?"]);
}

#[test]
fn an_unknown_family_is_told_with_those_that_there_are() {
    let families = ["`mmo`", "`shared_bottom`", "`omoe`", "`mmoe`", "`cgc`", "`ple`", "did you mean `mmoe`?"];
    refused(&["model.family=mmo"], &families);
}

#[test]
fn a_config_that_is_no_toml_is_told_with_the_line() {
    let place = Place::new();
    place.write("run.toml", "seed = 1\n[data\n");
    place.refuses_to_train(&[], &["run.toml", "line 2"]);
}

#[test]
fn a_config_that_is_not_there_is_named() {
    Place::new().refuses(&["train", "no.toml", "--device", "cpu"], &["no.toml", "No such file"]);
}

#[test]
fn an_override_without_a_value_or_a_key_shows_how_to_write_one() {
    for set in ["epochs", "=3", "train..epochs=3"] {
        let done = Place::new().train(&["--set", set]);
        assert_eq!((done.status, done.stdout.as_str()), (Some(2), ""), "{done:#?}");
        assert!(done.stderr.contains("--set train.epochs=3"), "{done:#?}");
    }
}

#[test]
fn an_override_names_a_place_that_is_there() {
    refused(&["task.3.weight=2"], &["--set task.3.weight", "3", "a list of 3"]);
    refused(&["seed.deep.down=2"], &["--set seed.deep.down", "neither a table nor a list"]);
}

#[test]
fn an_override_of_another_type_is_named() {
    refused(&["train.epochs=many"], &["`train.epochs`", "\"many\""]);
    refused(&["seed=-1"], &["`seed`", "-1"]);
}

#[test]
fn numbers_out_of_range_are_named() {
    for (set, key) in [
        ("train.epochs=0", "train.epochs = 0"),
        ("train.batch_size=0", "train.batch_size = 0"),
        ("train.log_every=0", "train.log_every = 0"),
        ("train.optimizer.learning_rate=-1", "train.optimizer.learning_rate = -1"),
        ("train.optimizer.beta1=1", "train.optimizer.beta1 = 1"),
        ("train.optimizer.weight_decay=-1", "train.optimizer.weight_decay = -1"),
        ("train.embedding_optimizer={ kind = \"lazy_adam\", l2 = -1 }", "train.embedding_optimizer.l2 = -1"),
        ("train.schedule={ kind = \"step\", every = 0 }", "train.schedule.every = 0"),
        ("train.clip_norm=0", "train.clip_norm = 0"),
        ("task.1.weight=-2", "task.weight = -2 (task buy)"),
    ] {
        refused(&[set], &["run.toml", key]);
    }
}

#[test]
fn batch_normalisation_takes_batches_of_two_rows() {
    let both = ["model.normalization=batch", "train.batch_size=1"];
    refused(&both, &["run.toml", "train.batch_size = 1", "must be 2 or more", "normalization"]);
}

#[test]
fn an_unknown_optimizer_is_told_with_those_that_there_are() {
    refused(&["train.embedding_optimizer.kind=lazyadam"], &["`lazyadam`", "`adagrad`", "did you mean `lazy_adam`?"]);
    refused(&["train.optimizer.kind=lazy_adam"], &["`lazy_adam`", "`adamw`"]);
}

#[test]
fn a_table_that_no_feature_makes_is_told_with_those_that_there_are() {
    let place = Place::new();
    let text = place.read("run.toml");
    let with = |entry: &str| place.write("run.toml", format!("{text}\n[[table]]\n{entry}\n"));
    with("name = \"users\"\nfrozen = true");
    place.refuses_to_train(&[], &["[[table]] users", "user, item"]);
    with("name = \"user\"\nfrozen = true\noptimizer = { kind = \"sgd\" }");
    place.refuses_to_train(&[], &["\"user\"", "frozen", "optimizer"]);
    with("name = \"user\"\n[[table]]\nname = \"user\"");
    place.refuses_to_train(&[], &["table.name = user", "two [[table]]"]);
    with("name = \"user\"\noptimizer = { kind = \"sgd\", l2 = -1 }");
    place.refuses_to_train(&[], &["table user: optimizer.l2 = -1", "must be 0 or more"]);
}

#[test]
fn widths_and_counts_of_zero_are_named() {
    refused(&["model.expert_units=[7, 0]"], &["expert_units = [7, 0]"]);
    refused(&["model.expert_units=[]"], &["expert_units = []", "at least one layer"]);
    refused(&["model.gate_units=[0]"], &["gate_units = [0]"]);
    refused(&["model.tower_units=[0]"], &["tower_units = [0]"]);
    refused(&["task.2.tower_units=[4, 0]"], &["tower_units of task watch = [4, 0]"]);
    refused(&["model.experts=0"], &["experts = 0"]);
    refused(&["feature.1.embedding_dim=0"], &["feature user", "embedding_dim", "0"]);
}

#[test]
fn names_that_clash_are_refused() {
    refused(&["task.1.name=click"], &["two tasks are named click"]);
    refused(&["task.0.name=shared", "task.0.column=click", "task.1.mask.task=shared"], &["\"shared\"", "rename"]);
    refused(&["feature.0.name=user"], &["two features are named user"]);
}

#[test]
fn features_that_share_a_table_agree_on_its_width() {
    let place = Place::new();
    let feature = |name, dim| {
        format!("[[feature]]\nname = {name:?}\nkind = \"category\"\ntable = \"things\"\nembedding_dim = {dim}\n\n")
    };
    let entry = "[[feature]]\nnames = [\"user\", \"item\"]\nkind = \"category\"\nembedding_dim = 3\n\n";
    place.edit("run.toml", entry, &(feature("user", 3) + &feature("item", 4)));
    place.refuses_to_train(&[], &["user and item share table things", "embedding_dim (3 and 4)"]);
}

#[test]
fn a_label_is_no_feature_unless_said() {
    refused(&["feature.0.name=click"], &["feature click", "task click", "allow_label"]);
}

#[test]
fn what_chooses_the_best_epoch_is_a_metric_of_a_task() {
    refused(&["train.best=buy.rmse"], &["train.best = \"buy.rmse\"", "\"click.auc\""]);
}

#[test]
fn compare_names_the_config_that_is_refused() {
    let place = Place::new();
    place.write("second.toml", place.read("run.toml").replace("experts = 3", "experts = 0"));
    let args = ["compare", "run.toml", "second.toml", "--epochs", "1", "--device", "cpu", "--csv", "c.csv"];
    place.refuses(&args, &["second.toml", "experts = 0"]);
    place.refuses(&["compare", "run.toml", "--epochs", "0", "--device", "cpu"], &["train.epochs = 0"]);
}
