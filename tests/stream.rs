//! Data streamed from a cache, held to the same data in memory: its batches, and what devices learn from them.
//!
//! Not tested here: memory, which docs/streaming.md shows, and a build that is killed, which tests/cli does.

mod support;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polygate::config::{DataConfig, FeatureConfig, Keep, MultiConfig, Pooling, TaskConfig};
use polygate::data::{Batch, Batches, Contents, DataError, Order, Splits, Streamed, TrainRows, load, stream};
use polygate::executor::Executor;
use polygate::gpu::{Checks, Gpu, GpuExecutor};
use polygate::optim::Rule;
use polygate::plan::{Parameters, Plan, Task};
use polygate::reference::Reference;
use serde::Deserialize;
use support::gpu::test_adapters;
use tempfile::TempDir;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sections {
    data: DataConfig,
    feature: Vec<FeatureConfig>,
    task: Vec<TaskConfig>,
}

const SEED: u64 = 7;

/// A folder with files, and a cache in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("a.csv", &rows(0..401));
        place.write("b.csv", &rows(401..503));
        place.write("valid.csv", &rows(503..550));
        place.write("test.csv", &rows(550..640));
        place.write("items.csv", "item,price\ni0,1.5\ni1,2\ni2,\ni5,9\n");
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn cache(&self) -> PathBuf {
        self.path().join("cache")
    }

    /// The sections of a config with a line more under `[data]`; shards of 16 rows, of which three are shuffled together.
    fn sections(&self, more: &str) -> Sections {
        let mut sections: Sections = toml::from_str(&CONFIG.replace("MORE", more)).unwrap();
        if let Some(stream) = &mut sections.data.stream {
            stream.cache = self.cache();
        }
        sections
    }

    fn in_memory(&self, more: &str) -> Splits {
        let Sections { data, feature, task } = self.sections(more);
        load(&data, &feature, &task, self.path(), SEED, None).unwrap()
    }

    fn try_stream(&self, sections: &Sections) -> Result<Streamed, DataError> {
        let Sections { data, feature, task } = sections;
        stream(data, data.stream.as_ref().unwrap(), feature, task, self.path(), SEED, None)
    }

    fn streamed(&self, more: &str) -> Streamed {
        self.try_stream(&self.sections(more)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// When each file of the cache was written, by name, without the lock.
    fn written(&self) -> Vec<(String, std::time::SystemTime)> {
        let entries = fs::read_dir(self.cache()).unwrap().map(|entry| entry.unwrap());
        let mut written: Vec<_> = entries
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().modified().unwrap()))
            .filter(|(name, _)| name.ends_with(".shard"))
            .collect();
        written.sort();
        written
    }
}

/// Every value of `id` stands once. Users, items, tags and what has weights are missing here and there.
fn rows(ids: std::ops::Range<u64>) -> String {
    let mut text = String::from("id,date,user,item,tags,seen,bought,spent,click,watch\n");
    for id in ids {
        let user = if id % 17 == 0 { String::new() } else { format!("u{}", id * id % 23) };
        let list = |n: u64, item: &dyn Fn(u64) -> String| (0..n).map(item).collect::<Vec<_>>().join("|");
        let tags = list(id % 4, &|tag| format!("t{}", (id + tag * 5) % 11));
        let seen = list(id % 3, &|tag| format!("t{}:{}", (id * 7 + tag) % 11, (id + tag) % 5));
        let bought = list(id % 5, &|item| format!("i{}", (id + item * 3) % 7));
        let spent = list(id % 5, &|item| format!("{}", (id % 9 * item) as f64 / 4.0 - 1.0));
        let (date, item, click, watch) = (20 + id % 10, id % 7, u64::from(id % 3 == 0), (id * 31 % 101) as f64 / 8.0);
        writeln!(text, "{id},{date},{user},i{item},{tags},{seen},{bought},{spent},{click},{watch}").unwrap();
    }
    text
}

const CONFIG: &str = r#"
    feature = [
        { name = "id", kind = "numeric" },
        { names = ["user", "item"], kind = "category", embedding_dim = 3, min_count = 2 },
        { name = "tags", kind = "multi", separator = "|", embedding_dim = 3 },
        { name = "price", kind = "numeric", buckets = [1.7, 5] },
        { name = "watch", kind = "numeric", transform = "minmax", allow_label = true },
        { name = "seen", kind = "multi", separator = "|", weights = true, table = "tags", embedding_dim = 3 },
        { name = "bought", kind = "multi", separator = "|", weights_column = "spent", pooling = "sum", max_length = 3, keep = "last" },
    ]
    task = [
        { name = "click" },
        { name = "watch", kind = "regression", mask = { task = "click", equals = 1 } },
    ]
    [data]
    train = ["a.csv", "b.csv"]
    group = "user"
    join = [{ file = "items.csv", on = "item" }]
    stream = { shard_rows = 16, buffer_rows = 50 }
    MORE
"#;

/// Ways to split, each as a line under `[data]`.
const SPLITS: [&str; 4] = [
    "valid = [\"valid.csv\"]\ntest = [\"test.csv\"]",
    "split = { valid_ratio = 0.13, test_ratio = 0.2 }",
    "split = { column = \"date\", valid_from = 26, test_from = 28 }",
    "test = [\"test.csv\"]\nsplit = { valid_of_test = 0.4 }",
];

/// The batches of an epoch behind the first `done`.
fn batches(rows: &TrainRows, splits: &Streamed, order: Order, done: usize) -> Vec<Batch> {
    let input = Arc::new(splits.schema.input().clone());
    let mut batches = Batches::after(done, rows.clone(), input, 13, order, Contents::ValuesAndSegments);
    let (expected, all) = (batches.len(), batches.by_ref().collect::<Vec<_>>());
    batches.check().unwrap();
    assert_eq!(all.len(), expected);
    all
}

#[test]
fn streamed_rows_statistics_and_notes_are_those_of_the_rows_in_memory() {
    for split in SPLITS {
        let place = Place::new();
        let (memory, mut streamed) = (place.in_memory(split), place.streamed(split));
        assert_eq!(streamed.schema, memory.schema, "{split}");
        assert_eq!((&streamed.valid, &streamed.test), (&memory.valid, &memory.test), "{split}");
        assert!(memory.valid.is_some_and(|rows| rows.rows > 10) && memory.test.is_some_and(|rows| rows.rows > 10));
        assert_eq!(streamed.loading.rows, memory.loading.rows);
        let shards = TrainRows::from(streamed.train.clone());
        let rows = TrainRows::from(Arc::new(memory.train));
        assert_eq!(batches(&shards, &streamed, Order::File, 0), batches(&rows, &streamed, Order::File, 0), "{split}");
        streamed.valid = None;
        // Read from the cache, all is as when it was made.
        let again = place.streamed(split);
        assert_eq!((&again.schema, &again.test), (&streamed.schema, &streamed.test));
        let shards = TrainRows::from(again.train.clone());
        assert_eq!(batches(&shards, &again, Order::File, 0), batches(&rows, &again, Order::File, 0), "{split}");
    }
}

/// The ids of an epoch's rows, in order: standardized, and so each of them once.
fn ids(batches: &[Batch]) -> Vec<f32> {
    batches.iter().flat_map(|batch| batch.dense.iter().step_by(2)).copied().collect()
}

fn sorted(mut ids: Vec<f32>) -> Vec<f32> {
    ids.sort_by(f32::total_cmp);
    ids
}

#[test]
fn an_epoch_streams_every_row_once_in_an_order_of_its_own() {
    let place = Place::new();
    // 503 rows: 31 whole shards and one of 7, in 11 windows, and 38 batches of 13 and one of 9.
    let streamed = place.streamed(SPLITS[0]);
    let shards = TrainRows::from(streamed.train.clone());
    assert_eq!(shards.rows(), 503);
    let epoch = |seed, epoch| ids(&batches(&shards, &streamed, Order::Shuffled { seed, epoch }, 0));
    let file = ids(&batches(&shards, &streamed, Order::File, 0));
    let first = epoch(1, 1);
    assert_eq!(first, epoch(1, 1));
    for other in [epoch(1, 2), epoch(2, 1)] {
        assert_ne!(first, other);
        assert_eq!(sorted(other), file);
    }
    assert_eq!(sorted(first.clone()), file);
    let neighbours = first
        .windows(2)
        .filter(|pair| file.iter().position(|id| *id == pair[0]).is_some_and(|at| file.get(at + 1) == Some(&pair[1])));
    assert!(neighbours.count() < 50, "rows that stood together still do");
}

#[test]
fn batches_after_some_are_the_rest_of_the_streamed_epoch() {
    let place = Place::new();
    let streamed = place.streamed(SPLITS[0]);
    let shards = TrainRows::from(streamed.train.clone());
    for order in [Order::File, Order::Shuffled { seed: 3, epoch: 5 }] {
        let all = batches(&shards, &streamed, order, 0);
        assert_eq!(all.iter().map(|batch| batch.rows).collect::<Vec<_>>(), [vec![13; 38], vec![9]].concat());
        for done in 0..=all.len() + 1 {
            assert_eq!(batches(&shards, &streamed, order, done), all[done.min(all.len())..], "{done}");
        }
    }
}

#[test]
fn a_buffer_of_all_rows_is_one_shuffle() {
    let place = Place::new();
    let mut sections = place.sections(SPLITS[0]);
    let wide = sections.data.stream.as_mut().unwrap();
    (wide.shard_rows, wide.buffer_rows) = (5, 100_000);
    let streamed = place.try_stream(&sections).unwrap();
    let shards = TrainRows::from(streamed.train.clone());
    let order = ids(&batches(&shards, &streamed, Order::Shuffled { seed: 1, epoch: 1 }, 0));
    let quarter = sorted(order.clone())[503 / 4];
    let early = order[..125].iter().filter(|id| **id < quarter).count();
    assert!((15..50).contains(&early), "{early} of the first quarter's rows are among the first 125");
}

#[test]
fn dropping_streamed_batches_early_ends_their_threads() {
    let place = Place::new();
    let streamed = place.streamed(SPLITS[0]);
    let input = Arc::new(streamed.schema.input().clone());
    let mut batches = Batches::new(streamed.train.clone(), input, 3, Order::File, Contents::Values);
    assert!(batches.next().is_some());
    drop(batches);
    assert_eq!(Arc::strong_count(&streamed.train), 1);
}

fn multi(sections: &mut Sections, feature: usize) -> &mut MultiConfig {
    let FeatureConfig::Multi(multi) = &mut sections.feature[feature] else { panic!("feature {feature}") };
    multi
}

/// A change to a config's sections.
type Change<'a> = &'a dyn Fn(&mut Sections);

#[test]
fn a_cache_is_made_once_and_anew_only_when_rows_could_differ() {
    let place = Place::new();
    drop(place.streamed(SPLITS[1]));
    let first = place.written();
    assert!(first.len() > 30);
    drop(place.streamed(SPLITS[1]));
    assert_eq!(place.written(), first);

    // What shapes the model alone.
    let mut sections = place.sections(SPLITS[1]);
    if let FeatureConfig::Category(category) = &mut sections.feature[1] {
        category.embedding_dim = 5;
    }
    (sections.task[0].weight, sections.data.shuffle) = (2.0, false);
    let streamed = place.try_stream(&sections).unwrap();
    assert_eq!((streamed.schema.input().tables[0].dim, streamed.schema.tasks()[0].weight), (5, 2.0));
    assert_eq!(place.written(), first);
    drop(streamed);

    // A file that is younger and the same.
    place.write("b.csv", &rows(401..503));
    drop(place.streamed(SPLITS[1]));
    assert_eq!(place.written(), first);

    let changes: [(&str, Change); 8] = [
        ("features", &|s| s.feature.truncate(4)),
        ("keep", &|s| multi(s, 6).keep = Keep::First),
        ("weights", &|s| multi(s, 6).weights_column = None),
        ("pooling", &|s| multi(s, 5).pooling = Pooling::Sum),
        ("split", &|s| s.data.split.as_mut().unwrap().seed = Some(3)),
        ("mask", &|s| s.task[1].mask = None),
        ("shards", &|s| s.data.stream.as_mut().unwrap().shard_rows = 17),
        ("files", &|s| s.data.train.truncate(1)),
    ];
    for (what, change) in changes {
        let before = place.written();
        let mut sections = place.sections(SPLITS[1]);
        change(&mut sections);
        drop(place.try_stream(&sections).unwrap());
        assert!(place.written() != before, "{what}");
    }
}

#[test]
fn a_cache_is_made_anew_when_a_source_changed() {
    let place = Place::new();
    let before = place.streamed(SPLITS[0]).train.rows();
    // As many bytes as before, and other ones.
    place.write("a.csv", &rows(0..401).replace("u1,", "u9,"));
    let changed = place.streamed(SPLITS[0]);
    assert_eq!(changed.schema, place.in_memory(SPLITS[0]).schema);
    drop(changed);
    place.write("items.csv", "item,price\ni0,1.5\n");
    assert_eq!(place.streamed(SPLITS[0]).test, place.in_memory(SPLITS[0]).test);
    place.write("b.csv", &rows(401..502));
    assert_eq!(place.streamed(SPLITS[0]).train.rows(), before - 1);
}

#[test]
fn a_cache_without_manifest_or_shard_is_made_anew_and_strange_files_stay() {
    let place = Place::new();
    let first = place.streamed(SPLITS[0]);
    let (schema, test) = (first.schema.clone(), first.test.clone());
    drop(first);
    place.write("cache/mine.txt", "kept");
    for lost in ["manifest.json", "train-000003.shard", "test-000000.shard"] {
        fs::remove_file(place.cache().join(lost)).unwrap();
        place.write("cache/train-000999.shard", "left by a build that was cut off");
        place.write("cache/.polygate-x.tmp", "and this");
        place.write("cache/train-000001.shard", "half");
        let again = place.streamed(SPLITS[0]);
        assert_eq!((&again.schema, &again.test), (&schema, &test));
        let shards = TrainRows::from(again.train.clone());
        assert_eq!(batches(&shards, &again, Order::File, 0).iter().map(|batch| batch.rows).sum::<usize>(), 503);
        assert!(!place.cache().join("train-000999.shard").exists() && !place.cache().join(".polygate-x.tmp").exists());
    }
    assert_eq!(fs::read_to_string(place.cache().join("mine.txt")).unwrap(), "kept");
}

fn flip_a_bit(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let last = bytes.len() - 9;
    bytes[last] ^= 4;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_damaged_shard_is_an_error_that_names_it() {
    let place = Place::new();
    let streamed = place.streamed(SPLITS[0]);
    flip_a_bit(&place.cache().join("train-000017.shard"));
    let input = Arc::new(streamed.schema.input().clone());
    let mut batches = Batches::new(streamed.train.clone(), input, 13, Order::File, Contents::Values);
    let read: usize = batches.by_ref().map(|batch| batch.rows).sum();
    let error = batches.check().expect_err("a shard is damaged").to_string();
    assert!(error.contains("train-000017.shard") && error.contains("checksum"), "{error}");
    assert!(read < 17 * 16, "{read} rows are in the windows before");
    drop(batches);
    drop(streamed);
    flip_a_bit(&place.cache().join("test-000002.shard"));
    let error = place.try_stream(&place.sections(SPLITS[0])).expect_err("a shard is damaged").to_string();
    assert!(error.contains("test-000002.shard"), "{error}");
}

#[test]
fn streams_without_rows_to_judge_by_are_refused() {
    let place = Place::new();
    let error = |more: &str| place.try_stream(&place.sections(more)).expect_err(more).to_string();
    assert!(error("").contains("data.stream: takes validation or test rows"), "{}", error(""));
    assert!(!place.cache().exists());
    let none = error("split = { column = \"date\", test_from = 99 }");
    assert!(none.contains("data.stream: takes validation or test rows"), "{none}");
    let all = error("split = { column = \"date\", test_from = 0 }");
    assert!(all.contains("no training rows are left after data.split"), "{all}");
}

/// A model over the streamed features.
fn plan(splits: &Streamed) -> Arc<Plan> {
    let model = toml::from_str("family = 'mmoe'\nexperts = 3\nexpert_units = [7]\ntower_units = [5]").unwrap();
    let schema = &splits.schema;
    let tasks = schema.tasks().iter().map(|t| Task { name: t.name.clone(), kind: t.kind, weight: t.weight });
    let units = vec![None; schema.tasks().len()];
    Arc::new(polygate::model::build(&model, tasks.collect(), &units, schema.input().clone()).unwrap())
}

/// What an executor has learnt from an epoch's batches.
fn learnt(executor: &mut dyn Executor, batches: &[Batch]) -> Parameters<f32> {
    for (step, batch) in (1..).zip(batches) {
        executor.train_step(batch, &Rule::default(), step).unwrap();
    }
    executor.parameters().unwrap()
}

#[test]
fn every_device_learns_from_streamed_rows_what_it_learns_from_memory() {
    let place = Place::new();
    let (memory, streamed) = (place.in_memory(SPLITS[0]), place.streamed(SPLITS[0]));
    let plan = plan(&streamed);
    let start = Parameters::init(&plan, 4);
    let from_shards = batches(&streamed.train.clone().into(), &streamed, Order::File, 0);
    let from_memory = batches(&Arc::new(memory.train).into(), &streamed, Order::File, 0);
    assert!(from_shards.iter().any(|batch| batch.weights.iter().any(|weight| *weight != 1.0)));
    let bits = |parameters: Parameters<f32>| parameters.map(f32::to_bits);
    let on_cpu = |batches: &[Batch]| learnt(&mut Reference::new(plan.clone(), start.clone()), batches);
    let expected = on_cpu(&from_memory);
    assert!(bits(on_cpu(&from_shards)) == bits(expected.clone()), "cpu");
    for adapter in test_adapters() {
        let gpu = Gpu::open(&adapter, Checks::Off).unwrap();
        let on_gpu = |batches: &[Batch]| {
            let executor = GpuExecutor::new(&gpu, plan.clone(), &start, 13, gpu.default_variants());
            learnt(&mut executor.unwrap(), batches)
        };
        let streamed = on_gpu(&from_shards);
        assert!(bits(streamed.clone()) == bits(on_gpu(&from_memory)), "{}", adapter.summary);
        let (mut moved, mut apart) = (0.0f32, 0.0f32);
        for p in plan.parameters() {
            let [start, cpu, gpu] = [&start, &expected, &streamed].map(|at| at.get(&plan, &p.name).unwrap());
            moved = start.iter().zip(&gpu).fold(moved, |most, (a, b)| most.max((a - b).abs()));
            apart = cpu.iter().zip(&gpu).fold(apart, |most, (a, b)| most.max((a - b).abs()));
        }
        assert!(apart.is_finite() && apart < moved / 10.0, "{}: {apart} from cpu, {moved} learnt", adapter.summary);
    }
}
