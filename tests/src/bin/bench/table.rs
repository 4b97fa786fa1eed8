//! Plain text tables: a title, what was done, and columns that line up.

/// Prints a heading and how the figures under it were had.
pub(crate) fn title(title: &str, how: &str) {
    println!("\n{title}\n  {how}");
}

/// Prints rows under their heads, each column as wide as it needs; all but the first to the right.
pub(crate) fn print<const N: usize>(heads: [&str; N], rows: &[[String; N]]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([heads[column].chars().count()])
            .max()
            .unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let cells = cells.iter().zip(widths).enumerate();
        let cells: Vec<_> = cells
            .map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        println!("  {}", cells.join("  "));
    };
    line(heads);
    for row in rows {
        line(row.each_ref().map(String::as_str));
    }
}

/// `53.1k`; below a thousand as it is.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 1000.0 {
        format!("{per_second:.0}")
    } else {
        format!("{:.1}k", per_second / 1000.0)
    }
}

pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / f64::from(1 << 20))
}
