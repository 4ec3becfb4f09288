//! Progress bars on standard error, only if it is a terminal.
#![forbid(unsafe_code)]

use indicatif::{ProgressBar, ProgressStyle};
use onecopy::Progress;

/// A bar that follows a library operation; gone when dropped.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar without a known length yet. It starts no thread.
    pub(crate) fn new() -> Self {
        let style = ProgressStyle::with_template(
            "{msg:<12} {wide_bar} {decimal_bytes:>10} of {decimal_total_bytes:<10} {eta:>4}",
        )
        .expect("the template is a constant that parses");
        Bar(ProgressBar::new(0).with_style(style))
    }

    /// Tells the bar how far the work is; callable from any thread.
    pub(crate) fn follow(&self, progress: Progress) {
        if self.0.is_hidden() {
            return;
        }
        if self.0.message() != progress.what {
            self.0.reset();
            self.0.set_message(progress.what);
        }
        self.0.set_length(progress.total_bytes.max(progress.done_bytes));
        self.0.set_position(progress.done_bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
