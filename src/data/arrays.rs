//! Cells of Arrow arrays: as the texts that a CSV file has in their place, as numbers, and as lists of texts.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};

use super::columns::{finite, is_missing};
use super::items::Wrong;

/// Why an array, or one of its cells, cannot be read.
pub enum Refused {
    /// What the array is, and what to do about it.
    Type { found: String, remedy: &'static str },
    /// The cell of a row, counted from 0, is no finite number.
    Number { row: usize, value: String },
    /// The cell of a row has items or weights that cannot be.
    Items { row: usize, value: String, wrong: Wrong },
    /// What is wrong with the column that the weights are in.
    Weights(Box<Refused>),
}

/// The error of an array's type.
pub fn refused(array: &dyn Array) -> Refused {
    let (found, remedy) = match array.data_type() {
        DataType::List(item) if item.data_type().is_nested() => {
            ("a list of lists, structs or maps".into(), "write it as a list of numbers or texts")
        }
        DataType::List(_) => ("a list".into(), "read it as a feature of kind \"multi\", or write one value a row"),
        DataType::Struct(_) => ("a struct".into(), "write its fields as columns of their own"),
        DataType::Map(..) => ("a map".into(), "write its values as columns of their own"),
        DataType::Binary | DataType::FixedSizeBinary(_) => ("binary".into(), "write it as text or numbers"),
        other => (format!("of type {other}"), "write it as text or numbers"),
    };
    Refused::Type { found, remedy }
}

/// An expression over the values of an array of numbers.
macro_rules! of_numbers {
    ($array:ident, $values:ident => $body:expr, else $other:expr) => {
        match $array.data_type() {
            DataType::Int8 => of_type!($array, Int8Type, $values => $body),
            DataType::Int16 => of_type!($array, Int16Type, $values => $body),
            DataType::Int32 => of_type!($array, Int32Type, $values => $body),
            DataType::Int64 => of_type!($array, Int64Type, $values => $body),
            DataType::UInt8 => of_type!($array, UInt8Type, $values => $body),
            DataType::UInt16 => of_type!($array, UInt16Type, $values => $body),
            DataType::UInt32 => of_type!($array, UInt32Type, $values => $body),
            DataType::UInt64 => of_type!($array, UInt64Type, $values => $body),
            DataType::Float32 => of_type!($array, Float32Type, $values => $body),
            DataType::Float64 => of_type!($array, Float64Type, $values => $body),
            _ => $other,
        }
    };
}

/// An expression over the values of an array of times.
macro_rules! of_times {
    ($array:ident, $unit:expr, $values:ident => $body:expr) => {
        match $unit {
            TimeUnit::Second => of_type!($array, TimestampSecondType, $values => $body),
            TimeUnit::Millisecond => of_type!($array, TimestampMillisecondType, $values => $body),
            TimeUnit::Microsecond => of_type!($array, TimestampMicrosecondType, $values => $body),
            TimeUnit::Nanosecond => of_type!($array, TimestampNanosecondType, $values => $body),
        }
    };
}

macro_rules! of_type {
    ($array:ident, $type:ty, $values:ident => $body:expr) => {{
        let $values = $array.as_primitive::<$type>();
        $body
    }};
}

/// Writes the text of a row's cell, which is no null.
type Show<'a> = Box<dyn Fn(usize, &mut String) + 'a>;

fn show(array: &ArrayRef) -> Result<Show<'_>, Refused> {
    Ok(of_numbers!(array, values => Box::new(|row, text| _ = write!(text, "{:?}", values.value(row))), else {
        match array.data_type() {
            DataType::Utf8 => {
                let values = array.as_string::<i32>();
                Box::new(|row, text| text.push_str(values.value(row).trim()))
            }
            DataType::Boolean => {
                let values = array.as_boolean();
                Box::new(|row, text| text.push(if values.value(row) { '1' } else { '0' }))
            }
            DataType::Decimal128(..) => of_type!(array, Decimal128Type, values => {
                Box::new(|row, text| text.push_str(&values.value_as_string(row)))
            }),
            DataType::Date32 => of_type!(array, Date32Type, values => {
                Box::new(|row, text| match values.value_as_date(row) {
                    Some(date) => _ = write!(text, "{date}"),
                    None => _ = write!(text, "{}", values.value(row)),
                })
            }),
            DataType::Timestamp(unit, _) => of_times!(array, unit, values => {
                Box::new(|row, text| match values.value_as_datetime(row) {
                    Some(time) => _ = write!(text, "{time}"),
                    None => _ = write!(text, "{}", values.value(row)),
                })
            }),
            DataType::Null => Box::new(|_, _| ()),
            _ => return Err(refused(array)),
        }
    }))
}

/// Gives each cell's text to `take`, `None` for a null.
///
/// Strings are trimmed; numbers have the text that CSV writers give them, as 7 and 1.0; truth is 1 or 0; dates and times
/// are as 2024-03-22 and 2024-03-22 18:30:00, in UTC.
pub fn texts(array: &ArrayRef, mut take: impl FnMut(Option<&str>)) -> Result<(), Refused> {
    let show = show(array)?;
    let mut text = String::new();
    let nulls = array.logical_nulls();
    for row in 0..array.len() {
        text.clear();
        let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        if !is_null {
            show(row, &mut text);
        }
        take((!is_null).then_some(&text));
    }
    Ok(())
}

/// Appends each cell as a number, NaN where it is null or missing.
///
/// Strings are parsed; truth is 1 or 0, dates are days and times seconds since 1970. A text of `missing` that is a number
/// stands for all numbers equal to it.
pub fn numbers(array: &ArrayRef, missing: &[String], numbers: &mut Vec<f64>) -> Result<(), Refused> {
    #[allow(clippy::unnecessary_cast)] // One of the types is f64 itself.
    let value: Box<dyn Fn(usize) -> f64> = of_numbers!(array, values => Box::new(|row| values.value(row) as f64), else {
        match array.data_type() {
            DataType::Boolean => {
                let values = array.as_boolean();
                Box::new(|row| f64::from(u8::from(values.value(row))))
            }
            DataType::Date32 => of_type!(array, Date32Type, values => Box::new(|row| f64::from(values.value(row)))),
            DataType::Timestamp(unit, _) => {
                let second = match unit {
                    TimeUnit::Second => 1.0,
                    TimeUnit::Millisecond => 1e3,
                    TimeUnit::Microsecond => 1e6,
                    TimeUnit::Nanosecond => 1e9,
                };
                of_times!(array, unit, values => Box::new(move |row| values.value(row) as f64 / second))
            }
            _ => return parsed(array, missing, numbers),
        }
    });
    let missing: Vec<f64> = missing.iter().filter_map(|text| text.parse().ok()).collect();
    for row in 0..array.len() {
        let value = if array.is_valid(row) { value(row) } else { f64::NAN };
        if array.is_null(row) || missing.iter().any(|one| *one == value || one.is_nan() && value.is_nan()) {
            numbers.push(f64::NAN);
        } else if value.is_finite() {
            numbers.push(value);
        } else {
            return Err(Refused::Number { row, value: value.to_string() });
        }
    }
    Ok(())
}

fn parsed(array: &ArrayRef, missing: &[String], numbers: &mut Vec<f64>) -> Result<(), Refused> {
    let (mut row, mut wrong) = (0, None);
    texts(array, |text| {
        let text = text.filter(|text| !is_missing(text, missing));
        let number = text.map_or(Some(f64::NAN), finite);
        if number.is_none() && wrong.is_none() {
            wrong = text.map(|text| Refused::Number { row, value: text.to_owned() });
        }
        numbers.push(number.unwrap_or(f64::NAN));
        row += 1;
    })?;
    wrong.map_or(Ok(()), Err)
}
