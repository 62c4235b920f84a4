//! The terminal of a container, and its `/dev/console`.

use std::os::fd::AsFd;
use std::path::Path;

use ucr_sys::inroot::{InRoot, Kind, Links};
use ucr_sys::mount::{Depth, Tree};
use ucr_sys::pty::Pty;
use ucr_sys::terminal::{self, Size};

use crate::failure::{During, Failure, Step};
use crate::plan::Terminal;

/// Makes a terminal in the devpts of `root`.
///
/// # Errors
///
/// A [`Failure`] of [`Step::Terminal`].
pub fn open(root: &InRoot, asked: Terminal) -> Result<Pty, Failure> {
    let pty = Pty::open(root).during(Step::Terminal, "")?;
    let size = Size {
        rows: asked.rows,
        columns: asked.columns,
    };
    terminal::set_size(pty.master.as_fd(), size).during(Step::Terminal, "")?;
    Ok(pty)
}

/// Shows the terminal as `/dev/console`, runtime-spec config-linux.md "Default Devices".
///
/// # Errors
///
/// A [`Failure`] of [`Step::Terminal`].
pub fn show(root: &InRoot, pty: &Pty) -> Result<(), Failure> {
    const CONSOLE: &str = "/dev/console";
    let bind = || {
        let target = root.ensure(Path::new(CONSOLE), Kind::File, Links::Refuse)?;
        Tree::copy_of_fd(pty.slave.as_fd(), Depth::One)?.attach(target.as_fd())
    };
    bind().during(Step::Terminal, CONSOLE)
}
