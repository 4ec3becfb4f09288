//! Progress bars on standard error, only if it is a terminal.
#![forbid(unsafe_code)]

use indicatif::{ProgressBar, ProgressStyle};
use onecopy::Progress;

/// A bar that follows a library operation; gone when dropped.
pub(crate) struct Bar {
    bar: ProgressBar,
    expected_bytes: u64,
}

impl Bar {
    /// A bar for work on about `expected_bytes`, which counts where the operation does not know a total. It starts no thread.
    pub(crate) fn new(expected_bytes: u64) -> Self {
        let template = "{msg:<14} {wide_bar} {decimal_bytes:>10} of {decimal_total_bytes:<10} {eta:>4}";
        let style = ProgressStyle::with_template(template).expect("the template is a constant that parses");
        Bar { bar: ProgressBar::new(expected_bytes).with_style(style), expected_bytes }
    }

    /// Tells the bar how far the work is; callable from any thread.
    pub(crate) fn follow(&self, progress: Progress) {
        if self.bar.is_hidden() {
            return;
        }
        if self.bar.message() != progress.what {
            self.bar.reset();
            self.bar.set_message(progress.what);
        }
        let total = if progress.total_bytes == 0 { self.expected_bytes } else { progress.total_bytes };
        self.bar.set_length(total.max(progress.done_bytes));
        self.bar.set_position(progress.done_bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
