//! Rows on a terminal: colours, the width of the window, and redrawing in place.

use jiff::Timestamp;

use crate::age;
use crate::view::{Fare, Row, View};

/// What the terminal can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Columns and rows.
    pub size: (u16, u16),
    /// Whether colours are wanted.
    pub colours: bool,
}

/// Draws over what it drew before.
#[derive(Debug, Default)]
pub(crate) struct Canvas {
    /// Lines of the last frame.
    lines: usize,
}

impl Canvas {
    /// The text that puts a frame where the last one was.
    pub(crate) fn frame(&mut self, lines: &[String]) -> String {
        let mut text = String::new();
        if self.lines > 0 {
            text.push_str(&format!("\x1b[{}A", self.lines));
        }
        for line in lines {
            // Erasing the rest of each line instead of the whole window does not flicker.
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        self.lines = lines.len();
        text
    }
}

/// A text in the colour of how an object fares.
pub(crate) fn paint(colours: bool, fare: Fare, text: &str) -> String {
    let code = match fare {
        Fare::Ready => "32",
        Fare::Suspended | Fare::Idle => "2",
        Fare::Working => "36",
        Fare::Waiting => "33",
        Fare::Failed => "31",
    };
    if colours {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// The lines of a frame: no wider and no higher than the window. Rows that are ready make room for those that are not.
pub(crate) fn lines(view: &View, screen: Screen, now: Timestamp) -> Vec<String> {
    let (columns, rows) = (
        usize::from(screen.size.0).max(20),
        usize::from(screen.size.1).max(6),
    );
    // The summary, a line on what was left out, and the cursor's line.
    let room = rows - 3;
    let mut shown: Vec<&Row> = view.rows.iter().collect();
    let mut hidden = 0;
    if shown.len() > room {
        shown.retain(|row| !matches!(row.fare, Fare::Ready | Fare::Suspended));
        shown.truncate(room);
        hidden = view.rows.len() - shown.len();
    }
    let width = shown
        .iter()
        .map(|row| row.depth * 2 + row.id.chars().count())
        .max()
        .unwrap_or(0)
        .min(columns / 2);
    let mut lines: Vec<String> = shown
        .iter()
        .map(|row| {
            let name = format!("{}{}", "  ".repeat(row.depth), row.id);
            let mut text = row.text.clone();
            if let (Fare::Working | Fare::Waiting | Fare::Failed, Some(since)) = (row.fare, row.since) {
                text = format!("{} · {text}", age::ago(now, since));
            }
            let name = cut(&name, width);
            let padding = " ".repeat(width - name.chars().count());
            let text = cut(&text, columns.saturating_sub(width + 5));
            format!(
                "{} {name}{padding}  {text}",
                paint(screen.colours, row.fare, row.fare.sign())
            )
        })
        .collect();
    if hidden > 0 {
        lines.push(format!("  … and {hidden} more"));
    }
    lines.push(cut(&view.summary(), columns - 1));
    lines
}

/// The rows that are new or say something else than before, for outputs that are no terminal.
pub(crate) fn changes(before: &View, after: &View) -> Vec<String> {
    after
        .rows
        .iter()
        .filter(|row| {
            !before
                .rows
                .iter()
                .any(|old| old.id == row.id && old.fare == row.fare && old.text == row.text)
        })
        .map(|row| {
            format!("{} {} {}", row.fare.sign(), row.id, row.text)
                .trim_end()
                .to_owned()
        })
        .collect()
}

/// At most so many characters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, fare: Fare, text: &str) -> Row {
        Row {
            depth: 0,
            id: id.to_owned(),
            fare,
            text: text.to_owned(),
            since: Some(Timestamp::from_second(100).unwrap()),
            maker: None,
        }
    }

    fn screen(columns: u16, rows: u16) -> Screen {
        Screen {
            size: (columns, rows),
            colours: false,
        }
    }

    #[test]
    fn a_frame_fits_the_window_and_keeps_what_is_not_ready() {
        let mut view = View {
            rows: (0..50)
                .map(|i| row(&format!("K/n/{i}"), Fare::Ready, "fine"))
                .collect(),
        };
        view.rows.push(row("K/n/bad", Fare::Failed, &"long ".repeat(40)));
        let lines = lines(&view, screen(60, 10), Timestamp::from_second(103).unwrap());
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("✗ K/n/bad  3s · long"), "{}", lines[0]);
        assert!(lines[0].chars().count() < 60);
        assert_eq!(lines[1], "  … and 50 more");
        assert_eq!(lines[2], "50 ready, 1 failed");
    }

    #[test]
    fn a_frame_is_drawn_over_the_last() {
        let mut canvas = Canvas::default();
        assert_eq!(
            canvas.frame(&["a".to_owned(), "b".to_owned()]),
            "a\x1b[K\nb\x1b[K\n\x1b[J"
        );
        assert!(canvas.frame(&["c".to_owned()]).starts_with("\x1b[2Ac"));
        assert!(canvas.frame(&[]).starts_with("\x1b[1A"));
    }

    #[test]
    fn only_changes_are_told_where_nothing_can_be_redrawn() {
        let before = View {
            rows: vec![row("a", Fare::Ready, "x"), row("b", Fare::Working, "y")],
        };
        let after = View {
            rows: vec![row("a", Fare::Ready, "x"), row("b", Fare::Ready, "")],
        };
        assert_eq!(changes(&before, &after), ["✔ b"]);
    }
}
