//! Tables as flux prints them: cells padded with spaces, each followed by a tab.

/// Characters of a text as a terminal counts them, well enough for names and messages.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// The table as text; the header is left out if it is empty.
#[must_use]
pub(crate) fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).chain([header.len()]).max().unwrap_or(0);
    let mut widths = vec![0; columns];
    let head: Vec<String> = header.iter().map(|title| title.to_uppercase()).collect();
    for row in rows.iter().chain([&head]) {
        for (cell, widest) in row.iter().zip(&mut widths) {
            *widest = cell.split('\n').map(width).max().unwrap_or(0).max(*widest);
        }
    }
    let mut text = String::new();
    if !header.is_empty() {
        line(&mut text, &head, &widths);
        // The last title ends with a space in place of the tab.
        text.truncate(text.len() - 2);
        text.push_str(" \n");
    }
    for row in rows {
        line(&mut text, row, &widths);
    }
    text
}

/// One row, over as many lines as its tallest cell has.
fn line(text: &mut String, row: &[String], widths: &[usize]) {
    let height = row.iter().map(|cell| cell.split('\n').count()).max().unwrap_or(1);
    for number in 0..height {
        for (cell, widest) in row.iter().zip(widths) {
            let part = cell.split('\n').nth(number).unwrap_or("");
            text.push_str(part);
            text.extend(std::iter::repeat_n(' ', widest - width(part)));
            text.push('\t');
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_padded_and_end_with_a_tab() {
        let rows = [
            vec!["a".to_owned(), "first\nsecond".to_owned()],
            vec!["longer".to_owned(), String::new()],
        ];
        assert_eq!(
            render(&["Name", "Message"], &rows),
            "NAME  \tMESSAGE \na     \tfirst  \t\n      \tsecond \t\nlonger\t       \t\n"
        );
        assert_eq!(render(&[], &rows[..1]), "a\tfirst \t\n \tsecond\t\n");
    }
}
