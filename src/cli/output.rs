//! Printing answers: JSON for programs, aligned text for people.

use std::fmt::Display;

use serde::Serialize;

use super::CliError;

/// One line of JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
    println!("{}", serde_json::to_string(value).map_err(std::io::Error::other)?);
    Ok(())
}

/// Names and values, one pair a line; pairs without a value are left out.
pub(super) fn pairs(pairs: &[(&str, &dyn Display)]) {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in pairs {
        let value = printable(&value.to_string());
        if !value.is_empty() {
            println!("{name:width$}  {value}");
        }
    }
}

/// A table with its columns aligned.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.into_iter().map(|row| row.map(|cell| printable(&cell))));
    let widths: [usize; N] =
        std::array::from_fn(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or_default());
    for line in lines {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}", cells.join("  ").trim_end());
    }
}

/// Text from the database may hold anything; a terminal must not obey it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
