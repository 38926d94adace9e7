//! A colour for each stream: neighbours differ, all are equally light, so that white text can be read on each of them.

/// The n-th colour, as `#rrggbb`.
pub(super) fn color(n: usize) -> String {
    // The golden angle: hues that follow each other are far apart, however many there are.
    let hue = (n as f64 * 137.508 + 250.0).to_radians();
    oklch(0.56, 0.125, hue)
}

/// From OKLCh (lightness as the eye sees it) to sRGB.
fn oklch(lightness: f64, chroma: f64, hue: f64) -> String {
    let (a, b) = (chroma * hue.cos(), chroma * hue.sin());
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548 * b).powi(3);
    let red = 4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s;
    let green = -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s;
    let blue = -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701 * s;
    let [red, green, blue] = [red, green, blue].map(|part| (gamma(part) * 255.0).round() as u8);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn gamma(linear: f64) -> f64 {
    let linear = linear.clamp(0.0, 1.0);
    if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
}
