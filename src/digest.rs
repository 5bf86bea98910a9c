//! Checksums of files and rows: CRC-64 as xz has it. It finds damage and change, not forgery.

use std::io::{self, Read};

use crc::{CRC_64_XZ, Crc, Table};

/// With tables for 16 bytes at a time.
pub const CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// The checksum of bytes, as 16 hexadecimal digits.
pub fn of(bytes: &[u8]) -> String {
    format!("{:016x}", CRC.checksum(bytes))
}

/// The checksum of all that a reader gives, as 16 hexadecimal digits.
///
/// # Errors
/// The reader's.
pub fn of_reader(mut reader: impl Read) -> io::Result<String> {
    let (mut digest, mut buffer) = (CRC.digest(), vec![0; 1 << 18]);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(format!("{:016x}", digest.finalize())),
            read => digest.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_published_one_however_it_is_read() {
        // The check value of CRC-64/XZ in the catalogue of CRC algorithms.
        assert_eq!(of(b"123456789"), "995dc9bbdf1939fa");
        assert_eq!(of_reader(Read::chain(&b"12345"[..], &b"6789"[..])).unwrap(), "995dc9bbdf1939fa");
        assert_eq!(of(b""), "0000000000000000");
    }
}
