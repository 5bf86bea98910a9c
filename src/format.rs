//! Figures as people read them, and text that is safe in a page.

/// Three significant digits; a dash for what is no number.
pub fn significant(x: f64) -> String {
    if !x.is_finite() {
        return "–".into();
    }
    if x == 0.0 {
        return "0".into();
    }
    let digits = (2 - x.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{x:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { grouped(&text) }
}

/// `12345` as `12,345`.
fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let mut out = sign.to_owned();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes in powers of a thousand.
pub fn bytes(bytes: u64) -> String {
    let (scale, unit) = match bytes {
        1_000_000_000.. => (1e9, "GB"),
        1_000_000.. => (1e6, "MB"),
        1_000.. => (1e3, "kB"),
        _ => (1.0, "B"),
    };
    format!("{} {unit}", significant(bytes as f64 / scale))
}

pub fn seconds(s: f64) -> String {
    let (scale, unit) = match s {
        s if s >= 1.0 => (1.0, "s"),
        s if s >= 1e-3 => (1e3, "ms"),
        _ => (1e6, "µs"),
    };
    format!("{} {unit}", significant(s * scale))
}

pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1}%", share * 100.0) } else { "–".into() }
}

/// Per second, in units of 10^9.
pub fn giga(rate: f64) -> String {
    significant(rate / 1e9)
}

pub fn mega(amount: f64) -> String {
    significant(amount / 1e6)
}

/// Text for a page's content and attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // What neither HTML nor XML can hold.
            c if c.is_control() && c != '\n' => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_significant_digits_and_no_trailing_zeros() {
        let figures = [0.0, 0.012345, 0.5, 1.0, 12.345, 123.45, 1234.5, 1_234_567.0, f64::NAN, f64::INFINITY];
        let wanted = ["0", "0.0123", "0.5", "1", "12.3", "123", "1,234", "1,234,567", "–", "–"];
        assert_eq!(figures.map(significant), wanted);
        assert_eq!([2.5, 0.0025, 2.5e-6].map(seconds), ["2.5 s", "2.5 ms", "2.5 µs"]);
        assert_eq!(
            [0, 999, 2_500, 640_000_000, 1_280_000_000].map(bytes),
            ["0 B", "999 B", "2.5 kB", "640 MB", "1.28 GB"]
        );
    }

    #[test]
    fn text_cannot_end_an_attribute_or_start_an_element() {
        assert_eq!(escape("a<b & \"c\">\u{7}"), "a&lt;b &amp; &quot;c&quot;&gt;?");
    }
}
