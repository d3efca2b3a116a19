//! How far capture files have been read, on a terminal.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::time::Duration;

use collector::capture::{Batch, CaptureError, CaptureStats, PacketSource, Progress, SourceState};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use shared::clock::Stopwatch;

/// How often the bar is drawn again.
pub const INTERVAL: Duration = Duration::from_millis(200);

const KNOWN_SIZE: &str =
    "{percent:>3} % {wide_bar} {bytes} of {total_bytes}  {bytes_per_sec}  {msg}  {eta} left";
const UNKNOWN_SIZE: &str = "{spinner} {bytes} read  {bytes_per_sec}  {msg}  {elapsed}";

/// A progress bar on standard error; gone when dropped.
pub struct Bar {
    bar: ProgressBar,
    since: Stopwatch,
}

impl Bar {
    /// A bar where somebody would see it and nothing else is written.
    pub fn on_terminal(wanted: bool) -> Option<Self> {
        (wanted && std::io::stderr().is_terminal()).then(|| Self::on(ProgressDrawTarget::stderr()))
    }

    fn on(target: ProgressDrawTarget) -> Self {
        Self { bar: ProgressBar::with_draw_target(None, target), since: Stopwatch::start() }
    }

    /// Shows how far the files have been read.
    pub fn show(&self, progress: &Progress) {
        if self.bar.position() == 0 {
            let template = if progress.bytes_total.is_some() { KNOWN_SIZE } else { UNKNOWN_SIZE };
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.bar.set_style(style);
            }
        }
        if let Some(total) = progress.bytes_total {
            self.bar.set_length(total);
        }
        self.bar.set_message(rate(progress.packets, self.since.elapsed()));
        self.bar.set_position(progress.bytes_read);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn rate(packets: u64, elapsed: Duration) -> Cow<'static, str> {
    let rate = packets as f64 / elapsed.as_secs_f64().max(0.001);
    format!("{} packets/s", HumanCount(rate as u64)).into()
}

/// A source whose progress is shown.
pub struct Watched {
    source: Box<dyn PacketSource>,
    bar: Option<Bar>,
    shown: Stopwatch,
}

impl Watched {
    /// Shows the progress of `source` on `bar`.
    pub fn new(source: Box<dyn PacketSource>, bar: Option<Bar>) -> Self {
        Self { source, bar, shown: Stopwatch::start() }
    }
}

impl PacketSource for Watched {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<SourceState, CaptureError> {
        if let Some(bar) = &self.bar
            && self.shown.elapsed() >= INTERVAL
        {
            self.shown = Stopwatch::start();
            if let Some(progress) = self.source.progress() {
                bar.show(&progress);
            }
        }
        self.source.next_batch(batch)
    }

    fn stats(&mut self) -> CaptureStats {
        self.source.stats()
    }

    fn name(&self) -> &str {
        self.source.name()
    }

    fn is_live(&self) -> bool {
        self.source.is_live()
    }

    fn progress(&self) -> Option<Progress> {
        self.source.progress()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Result;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// A terminal that keeps the line it shows.
    #[derive(Clone, Default, Debug)]
    struct Line(Arc<Mutex<String>>);

    impl TermLike for Line {
        fn width(&self) -> u16 {
            120
        }
        fn move_cursor_up(&self, _: usize) -> Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> Result<()> {
            self.0.lock().unwrap().clear();
            Ok(())
        }
        fn flush(&self) -> Result<()> {
            Ok(())
        }
    }

    fn shown(progress: &Progress) -> String {
        let line = Line::default();
        let bar = Bar::on(ProgressDrawTarget::term_like(Box::new(line.clone())));
        bar.show(progress);
        bar.bar.force_draw();
        let text = line.0.lock().unwrap().trim().to_owned();
        drop(bar);
        assert_eq!(*line.0.lock().unwrap(), "", "the line is gone in the end");
        text
    }

    #[test]
    fn a_file_of_known_size_shows_its_share_and_time_left() {
        let text = shown(&Progress { bytes_read: 25 << 20, bytes_total: Some(100 << 20), packets: 1000 });
        assert!(text.starts_with("25 %") && text.contains("100.00 MiB"), "{text}");
        assert!(text.contains("packets/s") && text.ends_with("left"), "{text}");
    }

    #[test]
    fn a_pipe_shows_what_was_read() {
        let text = shown(&Progress { bytes_read: 25 << 20, bytes_total: None, packets: 1000 });
        assert!(text.contains("25.00 MiB read") && !text.contains('%'), "{text}");
    }

    #[test]
    fn the_rate_is_of_the_time_gone_by() {
        assert_eq!(rate(3_000_000, Duration::from_secs(2)), "1,500,000 packets/s");
        assert_eq!(rate(0, Duration::ZERO), "0 packets/s");
    }
}
