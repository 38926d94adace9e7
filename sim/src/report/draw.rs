//! Pieces of SVG.

use std::{borrow::Cow, fmt::Write};

use streamkeeper::Time;

/// Text that may stand in markup, attributes included.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push('\n'),
            // XML has no way to write most of them.
            letter if letter.is_control() => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    Cow::Owned(escaped)
}

/// A number of pixels, as short as possible.
pub(super) fn px(pixels: f64) -> String {
    let text = format!("{pixels:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// How wide a text is, about.
pub(super) fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * 5.9
}

/// The horizontal axis.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) end: Time,
}

impl Scale {
    /// Where a time is.
    pub(super) fn x(&self, at: Time) -> f64 {
        let part = at.min(self.end).as_micros() as f64 / (self.end.as_micros().max(1)) as f64;
        self.left + part * (self.right - self.left)
    }

    /// Times to be written at the axis, in seconds: about one for every 90 pixels.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let seconds = self.end.as_micros() as f64 / 1e6;
        let wished = seconds / ((self.right - self.left) / 90.0);
        let steps = (-3..8).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
        let step = steps.into_iter().find(|&step| step >= wished).unwrap_or(1e8);
        let count = (seconds / step) as u32;
        (0..=count).map(|tick| f64::from(tick) * step).collect()
    }
}

/// A picture that is being drawn.
#[derive(Default)]
pub(super) struct Canvas {
    pub(super) svg: String,
}

impl Canvas {
    /// A rectangle; `attributes` begin with a space or are empty. The tip is what is shown under the pointer.
    pub(super) fn rect(&mut self, [x, y, width, height]: [f64; 4], attributes: &str, tip: &str) {
        let [x, y, width, height] = [x, y, width.max(1.0), height].map(px);
        let _ = write!(self.svg, r#"<rect x="{x}" y="{y}" width="{width}" height="{height}"{attributes}"#);
        self.close("rect", tip);
    }

    /// A path.
    pub(super) fn path(&mut self, d: &str, attributes: &str, tip: &str) {
        let _ = write!(self.svg, r#"<path d="{d}"{attributes}"#);
        self.close("path", tip);
    }

    /// A text.
    pub(super) fn text(&mut self, x: f64, y: f64, attributes: &str, text: &str) {
        let (x, y, text) = (px(x), px(y), escape(text));
        let _ = writeln!(self.svg, r#"<text x="{x}" y="{y}"{attributes}>{text}</text>"#);
    }

    fn close(&mut self, tag: &str, tip: &str) {
        let _ = match tip {
            "" => writeln!(self.svg, "/>"),
            tip => writeln!(self.svg, "><title>{}</title></{tag}>", escape(tip)),
        };
    }
}
