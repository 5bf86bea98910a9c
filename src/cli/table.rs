//! Tables for people. A figure that is undefined is shown as such, never as a number.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::evaluate::Evaluation;

pub fn new(header: Vec<String>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

pub fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "undefined".into(), |x| format!("{x:.digits$}"))
}

/// One row per task and one over tasks; columns that say nothing for any task are left out.
pub fn evaluation(e: &Evaluation) -> Table {
    let binary = e.tasks.iter().any(|t| t.metrics.positives.is_some());
    let regression = e.tasks.iter().any(|t| t.metrics.positives.is_none());
    let grouped = e.tasks.iter().any(|t| t.metrics.val_users.is_some());
    let shown = |names: &[&str], when: bool| names.iter().filter(|_| when).map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let header = [
        shown(&["task", "rows"], true),
        shown(&["positives", "AUC"], binary),
        shown(&["GAUC", "val_users"], grouped),
        shown(&["logloss", "NE"], binary),
        shown(&["RMSE", "MAE"], regression),
        shown(&["calibration"], true),
    ];
    let mut table = new(header.concat());
    for t in &e.tasks {
        let m = &t.metrics;
        let is_binary = m.positives.is_some();
        // A dash where a metric is not of the task's kind.
        let of_kind = |value: Option<f64>, kind: bool| if kind { number(value, 4) } else { "-".into() };
        let count = |n: Option<usize>| n.map_or_else(|| "-".into(), |n| n.to_string());
        let mut row = vec![t.task.clone(), m.rows.to_string()];
        if binary {
            row.extend([count(m.positives), of_kind(m.auc, is_binary)]);
        }
        if grouped {
            row.extend([of_kind(m.gauc, is_binary), count(m.val_users)]);
        }
        if binary {
            row.extend([of_kind(m.logloss, is_binary), of_kind(m.ne, is_binary)]);
        }
        if regression {
            row.extend([of_kind(m.rmse, !is_binary), of_kind(m.mae, !is_binary)]);
        }
        row.push(of_kind(m.calibration, is_binary));
        table.add_row(row);
    }
    if e.tasks.iter().filter(|t| t.metrics.positives.is_some()).count() > 1 {
        let mut row = vec!["macro".into(), String::new(), String::new(), number(e.over_tasks.auc, 4)];
        if grouped {
            row.push(number(e.over_tasks.gauc, 4));
        }
        table.add_row(row);
    }
    table
}

/// `income AUC 0.9465, ...`
pub fn evaluation_line(e: &Evaluation) -> String {
    let part = |t: &crate::evaluate::NamedMetrics| match t.metrics.positives {
        Some(_) => format!("{} AUC {}", t.task, number(t.metrics.auc, 4)),
        None => format!("{} RMSE {}", t.task, number(t.metrics.rmse, 4)),
    };
    e.tasks.iter().map(part).collect::<Vec<_>>().join(", ")
}
