//! A terminal that is drawn on, and whose keys are read one by one.
//!
//! *Guarantees:* it is as it was before when [`Screen`] is dropped, and before a panic says anything.
//!
//! *Must not know:* what is drawn.

use std::future::pending;
use std::io::{self, IsTerminal, Read, Write, stdin, stdout};
use std::panic;
use std::thread;

use parking_lot::Mutex;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use tokio::sync::mpsc;

use super::super::paint::{Line, Size, has_tones, size};

/// The other screen, without a cursor, and without going on to the next row at the end of one.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
/// Before a row rather than behind it: there the cursor stands on the last letter of a full one.
const EMPTY_ROW: &str = "\x1b[K";

/// How the terminal was, while it is drawn on.
static BEFORE: Mutex<Option<Before>> = Mutex::new(None);

struct Before {
    /// None where there is no keyboard.
    modes: Option<Termios>,
}

/// The terminal, as long as it is drawn on.
pub(super) struct Screen {
    tones: bool,
}

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        let modes = if stdin().is_terminal() { Some(tcgetattr(stdin())?) } else { None };
        if let Some(modes) = &modes {
            tcsetattr(stdin(), OptionalActions::Now, &key_by_key(modes.clone()))?;
        }
        *BEFORE.lock() = Some(Before { modes });
        let screen = Self { tones: has_tones(&stdout()) };
        leave_before_a_panic();
        send(ENTER)?;
        Ok(screen)
    }

    pub(super) fn size() -> Size {
        size(stdout())
    }

    /// Draws as many rows as there are, over what was there.
    pub(super) fn draw(&self, lines: Vec<Line>) -> io::Result<()> {
        let nothing = std::iter::repeat(Line::default());
        let lines = lines.into_iter().chain(nothing).take(Self::size().rows);
        let rows = lines.map(|line| if self.tones { line.painted() } else { line.text() });
        let rows: Vec<String> = rows.map(|row| format!("{EMPTY_ROW}{row}")).collect();
        send(&format!("{HOME}{}", rows.join("\r\n")))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// As it was before; once.
fn leave() {
    if let Some(before) = BEFORE.lock().take() {
        let _ = send(LEAVE);
        let _ = before.modes.map(|modes| tcsetattr(stdin(), OptionalActions::Now, &modes));
    }
}

fn leave_before_a_panic() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        leave();
        tell(panic);
    }));
}

/// Each key as it is pressed, unseen, also those that would end or stop us.
fn key_by_key(mut modes: Termios) -> Termios {
    let line_by_line =
        LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
    modes.local_modes.remove(line_by_line);
    modes.input_modes.remove(InputModes::IXON);
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    modes
}

fn send(text: &str) -> io::Result<()> {
    let mut stdout = stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Waits for one of these keys; for ever where there is no keyboard, and not when it is gone.
pub(super) async fn pressed(wanted: &[u8]) {
    if !stdin().is_terminal() {
        return pending().await;
    }
    let (tell, mut keys) = mpsc::channel(1);
    thread::spawn(move || {
        let all_told = |key| tell.blocking_send(key).is_ok();
        stdin().lock().bytes().map_while(Result::ok).all(all_told);
    });
    while keys.recv().await.is_some_and(|key| !wanted.contains(&key)) {}
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::Command;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    #[test]
    #[ignore = "wants a terminal, which the test below gives it"]
    fn panics_while_it_draws() {
        let screen = Screen::enter().unwrap();
        screen.draw(vec![Line::from("drawn")]).unwrap();
        panic!("on purpose");
    }

    #[test]
    fn a_panic_is_told_on_a_terminal_that_is_as_it_was_before() {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
        let side = || File::options().read(true).write(true).open(&name).unwrap();
        let before = tcgetattr(side()).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["panics_while_it_draws", "--ignored", "--nocapture", "--test-threads=1"]);
        let mut child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        drop(command);
        let mut said = Vec::new();
        // The end of the last one who has it open is an error.
        let _ = File::from(controller.try_clone().unwrap()).read_to_end(&mut said);
        child.wait().unwrap();
        let said = String::from_utf8(said).unwrap();
        let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("no {text:?} in {said:?}"));
        assert!(at(ENTER) < at("drawn") && at("drawn") < at(LEAVE), "{said:?}");
        assert!(at(LEAVE) < at("on purpose"), "{said:?}");
        let after = tcgetattr(side()).unwrap();
        assert_eq!(before.local_modes, after.local_modes);
    }
}
