//! TensorBoard's event files: records framed as TFRecord's, each an `Event` of `tensorflow/core/util/event.proto`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crc::{CRC_32_ISCSI, Crc};
use prost::Message;

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Buckets of a histogram of shares.
const BUCKETS: usize = 20;

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

/// A figure under its tag: a scalar or a histogram.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "5")]
    histo: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(double, tag = "1")]
    min: f64,
    #[prost(double, tag = "2")]
    max: f64,
    #[prost(double, tag = "3")]
    num: f64,
    #[prost(double, tag = "4")]
    sum: f64,
    #[prost(double, tag = "5")]
    sum_squares: f64,
    /// Upper edges.
    #[prost(double, repeated, tag = "6")]
    bucket_limit: Vec<f64>,
    #[prost(double, repeated, tag = "7")]
    bucket: Vec<f64>,
}

impl Value {
    pub fn scalar(tag: impl Into<String>, value: f64) -> Self {
        Self { tag: tag.into(), simple_value: Some(value as f32), histo: None }
    }

    /// Of numbers from 0 to 1.
    pub fn shares(tag: impl Into<String>, shares: impl Iterator<Item = f64>) -> Self {
        let bucket_limit = (1..=BUCKETS).map(|i| i as f64 / BUCKETS as f64).collect();
        let mut h = Histogram { min: 1.0, bucket_limit, bucket: vec![0.0; BUCKETS], ..Histogram::default() };
        for share in shares {
            (h.min, h.max) = (h.min.min(share), h.max.max(share));
            h.num += 1.0;
            h.sum += share;
            h.sum_squares += share * share;
            h.bucket[((share * BUCKETS as f64) as usize).min(BUCKETS - 1)] += 1.0;
        }
        Self { tag: tag.into(), simple_value: None, histo: Some(h) }
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
        self.write(&Event { wall_time: now(), file_version: Some("brain.Event:2".into()), ..Event::default() })
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

    /// Writes figures of a step. Those that are not finite are left out: TensorBoard shows them as gaps.
    ///
    /// # Errors
    /// The file system's.
    pub fn add(&mut self, step: u64, values: Vec<Value>) -> io::Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        self.write(&Event { wall_time: now(), step, file_version: None, summary: Some(Summary { value: values }) })
    }

    /// A record: its length, the length's checksum, the event, and its checksum.
    fn write(&mut self, event: &Event) -> io::Result<()> {
        let event = event.encode_to_vec();
        let length = (event.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(event.len() + 16);
        record.extend(length);
        record.extend(masked(&length).to_le_bytes());
        record.extend(&event);
        record.extend(masked(&event).to_le_bytes());
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

    /// The events of a file, whose framing has to be right to the last byte.
    fn read(bytes: &[u8]) -> Vec<Event> {
        let (mut events, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let (length, behind) = rest.split_at(8);
            let (checksum, behind) = behind.split_at(4);
            assert_eq!(checksum, masked(length).to_le_bytes());
            let (event, behind) = behind.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let (checksum, behind) = behind.split_at(4);
            assert_eq!(checksum, masked(event).to_le_bytes());
            events.push(Event::decode(event).unwrap());
            rest = behind;
        }
        events
    }

    #[test]
    fn the_checksum_is_the_masked_one_of_tfrecord() {
        // CRC-32C of "123456789" is e3069283 (RFC 3720); rotated by 15 and moved on.
        assert_eq!(CRC32C.checksum(b"123456789"), 0xe306_9283);
        assert_eq!(masked(b"123456789"), 0x2507_c60du32.wrapping_add(0xa282_ead8));
    }

    #[test]
    fn what_is_added_is_read_back_behind_the_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.out.tfevents.test");
        let mut events = EventFile::open(&path).unwrap();
        events.add(7, vec![Value::scalar("loss/click", 0.25)]).unwrap();
        drop(events);
        let mut events = EventFile::open(&path).unwrap();
        events.add(9, vec![Value::shares("gates", [0.0, 0.04, 0.5, 1.0].into_iter())]).unwrap();
        events.add(10, Vec::new()).unwrap();
        let read = read(&std::fs::read(&path).unwrap());
        assert_eq!(read.iter().map(|e| e.step).collect::<Vec<_>>(), [0, 7, 9]);
        assert_eq!(read[0].file_version.as_deref(), Some("brain.Event:2"));
        let values = |i: usize| read[i].summary.clone().unwrap().value;
        assert_eq!(values(1), [Value::scalar("loss/click", 0.25)]);
        let histogram = values(2)[0].histo.clone().unwrap();
        assert_eq!((histogram.min, histogram.max, histogram.num, histogram.sum), (0.0, 1.0, 4.0, 1.54));
        let filled: Vec<usize> = (0..BUCKETS).filter(|&i| histogram.bucket[i] > 0.0).collect();
        assert_eq!((filled, histogram.bucket.iter().sum::<f64>()), (vec![0, 10, 19], 4.0));
    }

    #[test]
    fn a_file_that_is_cut_to_nothing_begins_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.out.tfevents.test");
        let mut events = EventFile::open(&path).unwrap();
        events.add(7, vec![Value::scalar("loss/click", 0.25)]).unwrap();
        events.cut(0).unwrap();
        assert_eq!(read(&std::fs::read(&path).unwrap()).len(), 1);
    }
}
