use std::fs;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;

use super::*;

fn tensor(name: &str, shape: &[usize]) -> NamedTensor {
    let len = shape.iter().product::<usize>();
    NamedTensor { name: name.into(), shape: shape.into(), data: (0..len).map(|i| i as f32 * 0.37 - 1.0).collect() }
}

/// Sorted by name, as [`read`] gives them.
fn tensors() -> Vec<NamedTensor> {
    let odd = [f32::NAN.to_bits(), (-0.0f32).to_bits(), 1, f32::INFINITY.to_bits(), f32::MIN.to_bits()];
    let odd = NamedTensor { name: "odd".into(), shape: vec![5], data: odd.map(f32::from_bits).into() };
    vec![tensor("a.empty", &[0, 4]), tensor("b \"quoted\" \u{e9}", &[3, 5]), odd, tensor("scalar", &[])]
}

fn metadata() -> BTreeMap<String, String> {
    (0..9).map(|i| (format!("key {i}"), format!("value \"{i}\""))).collect()
}

struct Fixture {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { path: folder.path().join("model.safetensors"), _folder: folder }
    }

    fn written() -> Self {
        let fixture = Self::new();
        write(&fixture.path, &tensors(), &metadata()).unwrap();
        fixture
    }

    fn of(bytes: &[u8]) -> Self {
        let fixture = Self::new();
        fs::write(&fixture.path, bytes).unwrap();
        fixture
    }

    fn with_header(json: &str, data: &[u8]) -> Self {
        Self::of(&[&(json.len() as u64).to_le_bytes(), json.as_bytes(), data].concat())
    }

    fn error(&self) -> CheckpointError {
        read(&self.path).unwrap_err()
    }
}

fn bits(tensors: &[NamedTensor]) -> Vec<(&str, &[usize], Vec<u32>)> {
    tensors
        .iter()
        .map(|t| (t.name.as_str(), t.shape.as_slice(), t.data.iter().map(|x| x.to_bits()).collect()))
        .collect()
}

#[test]
fn what_is_written_is_read_back_bit_for_bit() {
    let fixture = Fixture::written();
    assert_eq!(bits(&read(&fixture.path).unwrap()), bits(&tensors()));
    assert_eq!(read_metadata(&fixture.path).unwrap(), metadata());
}

#[test]
fn the_safetensors_crate_reads_what_is_written() {
    let bytes = fs::read(Fixture::written().path).unwrap();
    let (header, read) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header % 8, 0);
    assert_eq!(read.metadata().as_ref().unwrap()["key 3"], "value \"3\"");
    let view = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(view.len(), tensors().len());
    for t in tensors() {
        let found = view.tensor(&t.name).unwrap();
        assert_eq!((found.dtype(), found.shape()), (Dtype::F32, t.shape.as_slice()));
        assert_eq!(found.data(), bytemuck::cast_slice::<f32, u8>(&t.data));
    }
}

#[test]
fn a_file_without_tensors_or_metadata_is_read_as_such() {
    let fixture = Fixture::new();
    write(&fixture.path, &[], &BTreeMap::new()).unwrap();
    assert_eq!(read(&fixture.path).unwrap(), []);
    assert!(read_metadata(&fixture.path).unwrap().is_empty());
}

#[test]
fn equal_input_in_any_order_gives_equal_bytes() {
    let first = fs::read(Fixture::written().path).unwrap();
    let reversed: Vec<_> = tensors().into_iter().rev().collect();
    for _ in 0..20 {
        let fixture = Fixture::new();
        write(&fixture.path, &reversed, &metadata()).unwrap();
        assert!(fs::read(&fixture.path).unwrap() == first);
    }
}

#[test]
fn tensors_that_a_reader_would_misunderstand_are_not_written() {
    let short = NamedTensor { name: "short".into(), shape: vec![2, 3], data: vec![0.0; 5] };
    let huge = NamedTensor { name: "huge".into(), shape: vec![usize::MAX, 2], data: vec![] };
    let twice = tensor("twice", &[1]);
    for (bad, reason) in [
        (vec![short], "5 values do not fill its shape [2, 3]"),
        (vec![huge], "0 values do not fill"),
        (vec![twice.clone(), twice], "given twice"),
        (vec![tensor("__metadata__", &[1])], "reserves"),
    ] {
        let fixture = Fixture::new();
        let error = write(&fixture.path, &bad, &metadata()).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!fixture.path.exists());
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Fixture::new().error();
    assert!(matches!(error, CheckpointError::Missing { .. }));
    assert!(error.to_string().contains("model.safetensors"));
}

#[test]
fn a_file_cut_anywhere_is_truncated() {
    let bytes = fs::read(Fixture::written().path).unwrap();
    for len in 0..bytes.len() {
        let error = Fixture::of(&bytes[..len]).error();
        let CheckpointError::Truncated { found, expected, .. } = error else { panic!("{len} bytes: {error}") };
        assert!(found == len as u64 && expected > found && expected <= bytes.len() as u64);
    }
}

#[test]
fn other_files_are_told_to_be_foreign() {
    let mut longer = fs::read(Fixture::written().path).unwrap();
    longer.push(0);
    for bytes in [&longer, b"PK\x03\x04 a PyTorch file, which is a zip".as_slice(), &[0; 64], b"\x03\0\0\0\0\0\0\0abc"]
    {
        let error = Fixture::of(bytes).error();
        assert!(matches!(error, CheckpointError::NotSafetensors { .. }), "{error}");
    }
}

#[test]
fn other_dtypes_are_refused_by_name() {
    for (dtype, size) in [("F64", 8), ("F16", 2), ("BF16", 2), ("I32", 4)] {
        let json = format!(r#"{{"w.x":{{"dtype":"{dtype}","shape":[1],"data_offsets":[0,{size}]}}}}"#);
        let error = Fixture::with_header(&json, &[0; 8][..size]).error().to_string();
        assert!(error.contains("\"w.x\"") && error.contains(&format!("holds {dtype},")), "{error}");
    }
}

#[test]
fn values_at_an_odd_offset_in_the_file_are_read() {
    let json = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let data: Vec<u8> = [1.5f32, -2.25].iter().flat_map(|x| x.to_le_bytes()).collect();
    for padding in 0..8 {
        let fixture = Fixture::with_header(&format!("{json}{}", " ".repeat(padding)), &data);
        assert_eq!(read(&fixture.path).unwrap()[0].data, [1.5, -2.25]);
    }
}

#[test]
fn headers_that_lie_are_errors_and_allocate_nothing() {
    let entry =
        |shape: &str, from: u64, to: u64| format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#);
    let eighth = 1u64 << 61;
    // Together these wrap past the largest u64.
    let wrapping: Vec<_> = (0..8)
        .map(|i: u64| {
            format!("\"t{i}\":{}", entry(&format!("[{}]", eighth / 4 - 1), i * (eighth - 4), (i + 1) * (eighth - 4)))
        })
        .collect();
    for json in [
        format!(r#"{{"w":{}}}"#, entry("[4611686018427387904]", 0, 0)),
        format!(r#"{{"w":{}}}"#, entry("[4294967296,4294967296]", 0, 0)),
        format!(r#"{{"w":{}}}"#, entry("[1000000000000]", 0, 4_000_000_000_000)),
        format!(r#"{{"w":{}}}"#, entry("[1]", 4, 8)),
        format!(r#"{{"w":{}}}"#, entry("[2]", 0, 4)),
        format!(r#"{{"w":{}}}"#, entry("[-1]", 0, 4)),
        format!("{{{}}}", wrapping.join(",")),
        "[".repeat(100_000),
        format!("{{\"w\":{}", "[".repeat(100_000)),
    ] {
        Fixture::with_header(&json, &[0; 8]).error();
    }
}

#[test]
fn damaged_and_random_bytes_never_panic() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let fixture = Fixture::written();
    let good = fs::read(&fixture.path).unwrap();
    for round in 0..3000 {
        let bytes = if round % 3 == 0 {
            let mut bytes = vec![0; rng.random_range(0..200)];
            rng.fill_bytes(&mut bytes);
            bytes
        } else {
            let mut bytes = good.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = if round % 3 == 1 { rng.random() } else { b"0123456789{}[],:\" "[rng.random_range(0..18)] };
            }
            bytes
        };
        fs::write(&fixture.path, &bytes).unwrap();
        let _ = (read(&fixture.path), read_metadata(&fixture.path));
    }
}

#[test]
fn a_tensor_larger_than_a_piece_is_written_and_read_piece_by_piece() {
    let fixture = Fixture::new();
    let (rows, long) = (PIECE_BYTES / 12 + 5, tensor("long", &[PIECE_BYTES / 12 + 5, 3]));
    assert_eq!(pieces(&long.shape).collect::<Vec<_>>(), [0..PIECE_BYTES / 12, PIECE_BYTES / 12..rows]);
    let wide = tensor("wide", &[2, PIECE_BYTES / 4 + 1]);
    assert_eq!(pieces(&wide.shape).collect::<Vec<_>>(), [0..1, 1..2]);
    let all = vec![long, wide];
    write(&fixture.path, &all, &metadata()).unwrap();
    assert!(read(&fixture.path).unwrap() == all);
    let mut reader = Reader::open(&fixture.path).unwrap();
    for tensor in &all {
        let row = row_len(&tensor.shape);
        let mut values = Vec::new();
        for rows in pieces(&tensor.shape) {
            let piece = reader.read_rows(&tensor.name, rows.clone()).unwrap();
            assert!(4 * piece.len() <= PIECE_BYTES.max(4 * row));
            values.extend(piece);
        }
        assert!(values == tensor.data, "{}", tensor.name);
    }
    assert!(pieces(&[0, 4]).next().is_none());
    assert!(pieces(&[]).eq(std::iter::once(0..1)), "a scalar is one row");
}
