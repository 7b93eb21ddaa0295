//! Many things of one kind: aligned columns without boxes, or a line each as they come.

use super::cell::{Cell, Paint};
use super::{Format, Output};
use crate::failure::Failure;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// Whether numbers line up on the right.
    pub right: bool,
}

impl Column {
    /// A column of text.
    pub const fn left(name: &'static str) -> Self {
        Self { name, right: false }
    }

    /// A column of numbers.
    pub const fn right(name: &'static str) -> Self {
        Self { name, right: true }
    }
}

/// A list being written. TSV and NDJSON lines go out at once, so a list of any length needs little memory;
/// a table waits for its widths and a JSON array for its end.
pub struct List<'a> {
    output: &'a Output,
    columns: &'static [Column],
    rows: Vec<Vec<(String, Option<Paint>)>>,
    items: Vec<serde_json::Value>,
    count: usize,
}

impl<'a> List<'a> {
    pub(super) fn new(output: &'a Output, columns: &'static [Column]) -> Self {
        Self { output, columns, rows: Vec::new(), items: Vec::new(), count: 0 }
    }

    /// Adds an item with one cell per column.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn push(&mut self, item: &impl Serialize, cells: &[Cell]) -> Result<(), Failure> {
        assert_eq!(cells.len(), self.columns.len(), "a row has one cell per column");
        self.count += 1;
        match self.output.format {
            Format::Table => self.rows.push(cells.iter().map(|cell| cell.table(self.output)).collect()),
            Format::Tsv => {
                let line: Vec<String> = cells.iter().map(Cell::tsv).collect();
                self.output.line(&line.join("\t"))?;
            }
            Format::Ndjson => self.output.json(item)?,
            Format::Json => self.items.push(serde_json::to_value(item).map_err(std::io::Error::other)?),
        }
        Ok(())
    }

    /// Items so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Writes what is still held.
    ///
    /// # Errors
    /// Stdout cannot be written.
    pub fn finish(self) -> Result<usize, Failure> {
        match self.output.format {
            Format::Table if !self.rows.is_empty() => self.write_table()?,
            Format::Json => self.output.json(&self.items)?,
            _ => {}
        }
        Ok(self.count)
    }

    fn write_table(&self) -> Result<(), Failure> {
        let mut widths: Vec<usize> = self.columns.iter().map(|c| c.name.width()).collect();
        for row in &self.rows {
            for (width, (text, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(text.width());
            }
        }
        let heading: Vec<_> =
            self.columns.iter().map(|c| (c.name.to_uppercase(), Some(Paint::Dim))).collect();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            for (i, (text, paint)) in row.iter().enumerate() {
                let pad = " ".repeat(widths[i] - text.width());
                let text = paint.map_or_else(|| text.clone(), |paint| self.output.paint(text, paint));
                let (before, after) =
                    if self.columns[i].right { (pad, String::new()) } else { (String::new(), pad) };
                if i > 0 {
                    line.push_str("  ");
                }
                line.push_str(&before);
                line.push_str(&text);
                line.push_str(&after);
            }
            self.output.line(line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] =
        &[Column::left("path"), Column::right("size"), Column::left("modified"), Column::left("commit")];

    fn show(format: Format) -> String {
        let now = jiff::Timestamp::from_second(1_000_000_000).expect("valid");
        let (output, stdout, _) = Output::captured(format, now);
        let mut list = output.list(COLUMNS);
        for (path, size, age) in
            [("a", Some(5), 60), ("images/日本.png", Some(2048), 7200), ("dir/", None, 0)]
        {
            let time = if age == 0 { 0 } else { 1_000_000_000 - age };
            let cells = [
                Cell::text(path),
                Cell::Size(size),
                Cell::Time(time),
                Cell::id("0123456789abcdef0123456789abcdef"),
            ];
            list.push(&serde_json::json!({ "path": path }), &cells).expect("pushed");
        }
        assert_eq!(list.finish().expect("written"), 3);
        stdout.text()
    }

    #[test]
    fn a_table_lines_up_without_boxes() {
        assert_eq!(
            show(Format::Table),
            "\
PATH                SIZE  MODIFIED      COMMIT
a                    5 B  1 minute ago  0123456789ab
images/日本.png  2.0 KiB  2 hours ago   0123456789ab
dir/                                    0123456789ab
"
        );
    }

    #[test]
    fn tsv_is_exact_and_whole() {
        assert_eq!(
            show(Format::Tsv),
            "a\t5\t2001-09-09T01:45:40Z\t0123456789abcdef0123456789abcdef\n\
             images/日本.png\t2048\t2001-09-08T23:46:40Z\t0123456789abcdef0123456789abcdef\n\
             dir/\t\t\t0123456789abcdef0123456789abcdef\n"
        );
    }

    #[test]
    fn json_is_one_document_and_ndjson_one_a_line() {
        assert_eq!(show(Format::Ndjson).lines().count(), 3);
        let whole: Vec<serde_json::Value> = serde_json::from_str(&show(Format::Json)).expect("JSON");
        assert_eq!(whole.len(), 3);
    }

    #[test]
    fn an_empty_list_is_an_empty_array_or_nothing() {
        let show = |format| {
            let (output, stdout, _) = Output::captured(format, jiff::Timestamp::UNIX_EPOCH);
            output.list(COLUMNS).finish().expect("written");
            stdout.text()
        };
        assert_eq!(show(Format::Json), "[]\n");
        assert_eq!((show(Format::Table), show(Format::Tsv)), (String::new(), String::new()));
    }
}
