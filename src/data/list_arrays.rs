//! Arrays of Arrow as lists: items and their weights.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray};
use arrow_schema::DataType;

use super::arrays::{Refused, numbers, refused, texts};
use super::columns::{ListColumn, is_missing};
use super::items::{Items, List, Wrong};

/// Appends each cell as a list: a null is empty, a string is split, another value is one item. Items of a list that are
/// null or empty are left out. `weights` are the cells of the column that the items' weights are in, if they have one.
pub fn lists(
    array: &ArrayRef,
    weights: Option<&ArrayRef>,
    items: &Items,
    missing: &[String],
    out: &mut ListColumn,
) -> Result<(), Refused> {
    match array.data_type() {
        DataType::List(item) if item.data_type().is_nested() => Err(refused(array)),
        DataType::List(_) => of_lists(array.as_list(), weights, items, out),
        _ => of_texts(array, weights, items, missing, out),
    }
}

fn of_texts(
    array: &ArrayRef,
    weights: Option<&ArrayRef>,
    items: &Items,
    missing: &[String],
    out: &mut ListColumn,
) -> Result<(), Refused> {
    let mut weight_texts = Vec::new();
    if let Some(weights) = weights {
        texts(weights, |text| weight_texts.push(text.unwrap_or_default().to_owned())).map_err(in_weights)?;
    }
    let (mut row, mut first_wrong) = (0, None);
    texts(array, |text| {
        let weights = weight_texts.get(row).map(String::as_str);
        let list = text.filter(|text| !is_missing(text, missing)).map(|text| items.of_text(text, weights));
        match list.unwrap_or_else(|| Ok(List::default())) {
            Ok(list) => out.push(&list),
            Err(wrong) => {
                let value = weights.or(text).unwrap_or_default().to_owned();
                let refused = Refused::Items { row, value, wrong };
                first_wrong.get_or_insert(if weights.is_some() { in_weights(refused) } else { refused });
            }
        }
        row += 1;
    })?;
    first_wrong.map_or(Ok(()), Err)
}

fn of_lists(lists: &ListArray, weights: Option<&ArrayRef>, items: &Items, out: &mut ListColumn) -> Result<(), Refused> {
    let all = all_items(lists, items, out)?;
    let weights = weights.map(all_weights).transpose().map_err(in_weights)?;
    for row in 0..lists.len() {
        let mut of_row = all[range(lists, row)].to_vec();
        if let Some((weights, ranges)) = weights.as_ref().filter(|_| lists.is_valid(row)) {
            let given = &weights[ranges[row].clone()];
            let refused = |wrong| in_weights(Refused::Items { row, value: format!("{given:?}"), wrong });
            weigh(items, &mut of_row, given).map_err(refused)?;
        }
        let list = items.cut(of_row, Option::is_none);
        list.items.iter().for_each(|(item, weight)| item.iter().for_each(|symbol| out.push_item(*symbol, *weight)));
        out.end_row(list.length);
    }
    Ok(())
}

/// The items of all rows, one behind another: each with its symbol, if it has a text, and its weight.
fn all_items(lists: &ListArray, items: &Items, out: &mut ListColumn) -> Result<Vec<(Option<u32>, f64)>, Refused> {
    let (mut all, mut first_wrong) = (Vec::with_capacity(lists.values().len()), None);
    texts(lists.values(), |text| {
        let text = text.unwrap_or_default();
        let (item, weight) = items.item(text).unwrap_or_else(|wrong| {
            let row = row_of(lists, all.len());
            first_wrong.get_or_insert(Refused::Items { row, value: text.to_owned(), wrong });
            ("", 1.0)
        });
        all.push(((!item.is_empty()).then(|| out.symbol(item)), weight));
    })?;
    first_wrong.map_or(Ok(all), Err)
}

/// The numbers of a column of lists, one behind another, and where those of each row are. A null has none.
fn all_weights(array: &ArrayRef) -> Result<(Vec<f64>, Vec<Range<usize>>), Refused> {
    let lists = array.as_list_opt::<i32>().ok_or_else(|| refused(array))?;
    let mut all = Vec::new();
    numbers(lists.values(), &["NaN".to_owned()], &mut all).map_err(|refused| match refused {
        Refused::Number { row: at, value } => {
            Refused::Items { row: row_of(lists, at), value: value.clone(), wrong: Wrong::NotFinite(value) }
        }
        other => other,
    })?;
    Ok((all, (0..lists.len()).map(|row| range(lists, row)).collect()))
}

/// Gives the items of a row their weights.
fn weigh(items: &Items, of_row: &mut [(Option<u32>, f64)], weights: &[f64]) -> Result<(), Wrong> {
    if weights.len() != of_row.len() {
        return Err(Wrong::Count { weights: weights.len(), items: of_row.len() });
    }
    for ((item, weight), given) in of_row.iter_mut().zip(weights) {
        if item.is_some() {
            *weight = items.check_weight(*given)?;
        }
    }
    Ok(())
}

/// Where a row's values lie among those of all rows.
fn range(lists: &ListArray, row: usize) -> Range<usize> {
    let ends = lists.value_offsets();
    if lists.is_valid(row) { ends[row] as usize..ends[row + 1] as usize } else { 0..0 }
}

/// The row that value number `at` is in.
fn row_of(lists: &ListArray, at: usize) -> usize {
    lists.value_offsets().partition_point(|end| *end as usize <= at).saturating_sub(1)
}

fn in_weights(refused: Refused) -> Refused {
    Refused::Weights(Box::new(refused))
}
