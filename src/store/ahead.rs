//! A file whose bytes go to disk while later ones are being made, so that the last sync finds little left to do.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::panic::resume_unwind;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// Bytes after which the disk is given something to do.
const STEP: u64 = 4 << 20;

/// A file that is being written. A thread syncs it now and then.
///
/// The system tells of a failed write once: whoever syncs the file at last may not hear of it any more. So
/// `flush` gives the error that the thread met, and has to be called.
pub(crate) struct Ahead<'a> {
    file: &'a mut File,
    /// Bytes written since the thread was last told.
    waiting: u64,
    thread: Syncing,
}

enum Syncing {
    /// Nobody wants the file on disk.
    Never,
    /// Too little has been written.
    NotYet,
    Running(SyncSender<()>, JoinHandle<io::Result<()>>),
}

impl<'a> Ahead<'a> {
    /// `sync` says whether the file shall be on disk in the end.
    pub(crate) fn new(file: &'a mut File, sync: bool) -> Self {
        Ahead { file, waiting: 0, thread: if sync { Syncing::NotYet } else { Syncing::Never } }
    }

    /// Bytes in the file.
    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn tell(&mut self) -> io::Result<()> {
        if let Syncing::NotYet = self.thread {
            self.thread = start(self.file)?;
        }
        if let Syncing::Running(sender, _) = &self.thread
            // One that is busy will sync what came since with the next bytes.
            && sender.try_send(()).is_ok()
        {
            self.waiting = 0;
        }
        Ok(())
    }
}

impl Ahead<'_> {
    /// Waits for the thread, if there is one.
    fn end(&mut self) -> Option<thread::Result<io::Result<()>>> {
        match std::mem::replace(&mut self.thread, Syncing::Never) {
            Syncing::Running(sender, thread) => {
                drop(sender);
                Some(thread.join())
            }
            Syncing::NotYet | Syncing::Never => None,
        }
    }
}

impl Drop for Ahead<'_> {
    /// No thread, and no descriptor of a file that nobody will have, outlives a failure.
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn start(file: &File) -> io::Result<Syncing> {
    let file = file.try_clone()?;
    let (sender, told) = sync_channel(1);
    let sync = move || told.into_iter().try_for_each(|()| file.sync_data());
    Ok(match thread::Builder::new().spawn(sync) {
        Ok(thread) => Syncing::Running(sender, thread),
        Err(_) => Syncing::Never,
    })
}

impl Write for Ahead<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = self.file.write(buf)?;
        self.waiting += len as u64;
        if self.waiting >= STEP {
            self.tell()?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(synced) = self.end() {
            synced.unwrap_or_else(|panic| resume_unwind(panic))?;
        }
        self.file.flush()
    }
}

impl Seek for Ahead<'_> {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        self.file.seek(pos)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::{Ahead, STEP};

    #[test]
    fn what_was_written_is_in_the_file_whether_it_was_synced_or_not() {
        for sync in [true, false] {
            let mut file = tempfile::tempfile().unwrap();
            let bytes = vec![7; 1 << 20];
            let mut ahead = Ahead::new(&mut file, sync);
            for _ in 0..(3 * STEP) >> 20 {
                ahead.write_all(&bytes).unwrap();
            }
            ahead.rewind().unwrap();
            ahead.write_all(b"start").unwrap();
            ahead.flush().unwrap();
            assert_eq!(3 * STEP, ahead.len().unwrap(), "sync: {sync}");
        }
    }

    #[test]
    fn a_sync_that_fails_in_the_thread_is_an_error_of_flush() {
        let (mut reader, mut writer) = std::io::pipe().map(|(r, w)| (file(r), file(w))).unwrap();
        let drain = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        let mut ahead = Ahead::new(&mut writer, true);
        ahead.write_all(&vec![7; 2 * STEP as usize]).unwrap();
        // A pipe cannot be synced.
        assert!(ahead.flush().is_err());
        drop(ahead);
        drop(writer);
        drain.join().unwrap().unwrap();
    }

    fn file(pipe: impl Into<std::os::fd::OwnedFd>) -> std::fs::File {
        pipe.into().into()
    }
}
