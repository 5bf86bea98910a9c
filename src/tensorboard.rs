//! TensorBoard's event files: records framed as TFRecord's, each an `Event` of `tensorflow/core/util/event.proto`.
//!
//! The three messages that this takes are encoded here; their field numbers are those of the `.proto` files.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crc::{CRC_32_ISCSI, Crc};

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Buckets of a histogram of shares.
const BUCKETS: usize = 20;

/// A message in protobuf's encoding: each field is its number and kind, then its value.
#[derive(Clone, Debug, Default, PartialEq)]
struct Encoded(Vec<u8>);

impl Encoded {
    /// `kind` is 0 for a varint, 1 for 8 bytes, 2 for a length and bytes, 5 for 4 bytes.
    fn key(&mut self, field: u8, kind: u8) -> &mut Self {
        // Field numbers here are below 16, so that a key is one byte.
        self.0.push(field << 3 | kind);
        self
    }

    fn varint(&mut self, mut x: u64) {
        while x >= 0x80 {
            self.0.push(x as u8 | 0x80);
            x >>= 7;
        }
        self.0.push(x as u8);
    }

    fn int(mut self, field: u8, x: u64) -> Self {
        self.key(field, 0).varint(x);
        self
    }

    fn double(mut self, field: u8, x: f64) -> Self {
        self.key(field, 1).0.extend(x.to_le_bytes());
        self
    }

    fn float(mut self, field: u8, x: f32) -> Self {
        self.key(field, 5).0.extend(x.to_le_bytes());
        self
    }

    /// A text, a message, or a packed list.
    fn bytes(mut self, field: u8, bytes: &[u8]) -> Self {
        self.key(field, 2).varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn doubles(self, field: u8, list: &[f64]) -> Self {
        let packed: Vec<u8> = list.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.bytes(field, &packed)
    }
}

/// A figure under its tag: a `Summary.Value` with a scalar or a histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Value(Encoded);

impl Value {
    pub fn scalar(tag: &str, value: f64) -> Self {
        Self(Encoded::default().bytes(1, tag.as_bytes()).float(2, value as f32))
    }

    /// A histogram of numbers from 0 to 1.
    pub fn shares(tag: &str, shares: impl Iterator<Item = f64>) -> Self {
        let limits: Vec<f64> = (1..=BUCKETS).map(|i| i as f64 / BUCKETS as f64).collect();
        let mut counts = [0.0; BUCKETS];
        let (mut least, mut most, mut count, mut sum, mut squares) = (1f64, 0f64, 0.0, 0.0, 0.0);
        for share in shares {
            (least, most) = (least.min(share), most.max(share));
            (count, sum, squares) = (count + 1.0, sum + share, squares + share * share);
            counts[((share * BUCKETS as f64) as usize).min(BUCKETS - 1)] += 1.0;
        }
        let moments = [least, most, count, sum, squares];
        let histogram = (1..).zip(moments).fold(Encoded::default(), |h, (field, x)| h.double(field, x));
        let histogram = histogram.doubles(6, &limits).doubles(7, &counts);
        Self(Encoded::default().bytes(1, tag.as_bytes()).bytes(5, &histogram.0))
    }
}

/// An event file, which only grows.
pub struct EventFile(File);

impl EventFile {
    /// Opens a file to write behind what it has; an empty or new one is begun.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut events = Self(OpenOptions::new().append(true).create(true).open(path)?);
        if events.0.metadata()?.len() == 0 {
            events.begin()?;
        }
        Ok(events)
    }

    /// Says what kind of file this is: its first record.
    fn begin(&mut self) -> io::Result<()> {
        self.write(&Encoded::default().double(1, now()).bytes(3, b"brain.Event:2"))
    }

    /// Cuts the file back to so many bytes, where it has more.
    ///
    /// # Errors
    /// The file system's.
    pub fn cut(&mut self, bytes: u64) -> io::Result<()> {
        if bytes < self.0.metadata()?.len() {
            self.0.set_len(bytes)?;
        }
        if bytes == 0 { self.begin() } else { Ok(()) }
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// Writes figures of a step.
    ///
    /// # Errors
    /// The file system's.
    pub fn add(&mut self, step: u64, values: &[Value]) -> io::Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let summary = values.iter().fold(Encoded::default(), |summary, value| summary.bytes(1, &value.0.0));
        self.write(&Encoded::default().double(1, now()).int(2, step).bytes(5, &summary.0))
    }

    /// A record: its length, the length's checksum, the event, and its checksum.
    fn write(&mut self, Encoded(event): &Encoded) -> io::Result<()> {
        let length = (event.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(event.len() + 16);
        record.extend(length);
        record.extend(masked(&length).to_le_bytes());
        record.extend(event);
        record.extend(masked(event).to_le_bytes());
        self.0.write_all(&record)
    }
}

/// TFRecord's checksum: that of data with a checksum in it would be weak, so it is rotated and moved on.
fn masked(bytes: &[u8]) -> u32 {
    CRC32C.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message's fields in order: number, and a varint, or the bytes of the others.
    fn fields(mut bytes: &[u8]) -> Vec<(u8, Field)> {
        let mut fields = Vec::new();
        while let Some((&key, rest)) = bytes.split_first() {
            bytes = rest;
            let mut varint = || {
                let length = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
                let (digits, rest) = bytes.split_at(length);
                bytes = rest;
                digits.iter().rev().fold(0u64, |x, byte| x << 7 | u64::from(byte & 0x7f))
            };
            let field = match key & 7 {
                0 => Field::Int(varint()),
                kind => {
                    let length = if kind == 2 { varint() as usize } else { 8 / (1 + usize::from(kind == 5)) };
                    let (value, rest) = bytes.split_at(length);
                    bytes = rest;
                    Field::Bytes(value.to_vec())
                }
            };
            fields.push((key >> 3, field));
        }
        fields
    }

    #[derive(Clone, Debug, PartialEq)]
    enum Field {
        Int(u64),
        Bytes(Vec<u8>),
    }

    /// The bytes of a message's only field of a number.
    fn one(message: &[u8], number: u8) -> Vec<u8> {
        match &fields(message).into_iter().filter(|(n, _)| *n == number).collect::<Vec<_>>()[..] {
            [(_, Field::Bytes(bytes))] => bytes.clone(),
            other => panic!("field {number}: {other:?}"),
        }
    }

    fn doubles(bytes: &[u8]) -> Vec<f64> {
        bytes.chunks_exact(8).map(|x| f64::from_le_bytes(x.try_into().unwrap())).collect()
    }

    /// The events of a file, whose framing has to be right to the last byte.
    fn events(path: &Path) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(path).unwrap();
        let (mut events, mut rest) = (Vec::new(), &bytes[..]);
        while !rest.is_empty() {
            let (length, behind) = rest.split_at(8);
            let (checksum, behind) = behind.split_at(4);
            assert_eq!(checksum, masked(length).to_le_bytes());
            let (event, behind) = behind.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let (checksum, behind) = behind.split_at(4);
            assert_eq!(checksum, masked(event).to_le_bytes());
            events.push(event.to_vec());
            rest = behind;
        }
        events
    }

    #[test]
    fn the_checksum_is_the_masked_one_of_tfrecord() {
        // CRC-32C of "123456789" is e3069283 (RFC 3720); rotated by 15 and moved on.
        assert_eq!(CRC32C.checksum(b"123456789"), 0xe306_9283);
        assert_eq!(masked(b"123456789"), 0x2507_c60d_u32.wrapping_add(0xa282_ead8));
    }

    #[test]
    fn what_is_added_is_read_back_behind_the_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.out.tfevents.test");
        EventFile::open(&path).unwrap().add(300, &[Value::scalar("loss/click", 0.25)]).unwrap();
        let mut file = EventFile::open(&path).unwrap();
        file.add(9, &[Value::scalar("a", 1.0), Value::shares("gates", [0.0, 0.04, 0.5, 1.0].into_iter())]).unwrap();
        file.add(10, &[]).unwrap();
        let events = events(&path);
        assert_eq!((events.len(), one(&events[0], 3)), (3, b"brain.Event:2".to_vec()));
        assert!(doubles(&one(&events[1], 1))[0] > 1.7e9, "seconds since 1970");
        assert_eq!([1, 2].map(|i| fields(&events[i])[1].clone()), [(2, Field::Int(300)), (2, Field::Int(9))]);

        let value = one(&one(&events[1], 5), 1);
        assert_eq!((one(&value, 1), one(&value, 2)), (b"loss/click".to_vec(), 0.25f32.to_le_bytes().to_vec()));
        let summary = fields(&one(&events[2], 5));
        let (1, Field::Bytes(value)) = &summary[1] else { panic!("{summary:?}") };
        let histogram = one(value, 5);
        assert_eq!([1, 2, 3, 4].map(|field| doubles(&one(&histogram, field))[0]), [0.0, 1.0, 4.0, 1.54]);
        let [limits, counts] = [6, 7].map(|field| doubles(&one(&histogram, field)));
        assert_eq!((limits.len(), limits[0], limits[19]), (BUCKETS, 0.05, 1.0));
        let filled: Vec<usize> = (0..BUCKETS).filter(|&i| counts[i] > 0.0).collect();
        assert_eq!((filled, counts.iter().sum::<f64>()), (vec![0, 10, 19], 4.0));
    }

    #[test]
    fn a_file_that_is_cut_to_nothing_begins_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.out.tfevents.test");
        let mut file = EventFile::open(&path).unwrap();
        file.add(7, &[Value::scalar("loss/click", 0.25)]).unwrap();
        file.cut(0).unwrap();
        assert_eq!(events(&path).len(), 1);
    }
}
