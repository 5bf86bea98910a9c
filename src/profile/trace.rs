//! A profile's last step in Chrome's trace format, which Perfetto opens.

use std::io::{Error, Write};

use serde_json::{Value, json};

use super::{Lane, Profile};

/// # Errors
/// Where the output cannot be written.
pub fn write(out: &mut dyn Write, profile: &Profile) -> Result<(), Error> {
    let thread = |lane| match lane {
        Lane::Device => 1,
        Lane::Host => 2,
        Lane::Background => 3,
    };
    let name = |lane, name: &str| json!({"name": "thread_name", "ph": "M", "pid": 1, "tid": thread(lane), "args": {"name": name}});
    let names = [
        name(Lane::Device, &profile.setting.device),
        name(Lane::Host, "training thread"),
        name(Lane::Background, "batch thread"),
    ];
    // Microseconds.
    let spans = profile.timeline.iter().map(|span| {
        json!({
            "name": span.name, "ph": "X", "pid": 1, "tid": thread(span.lane),
            "ts": span.start * 1e6, "dur": span.seconds * 1e6,
        })
    });
    let events: Vec<Value> = names.into_iter().chain(spans).collect();
    Ok(serde_json::to_writer(out, &json!({ "traceEvents": events, "displayTimeUnit": "ms" }))?)
}
