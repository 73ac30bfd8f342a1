//! One child process, from the parent's side.

use std::path::Path;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use chrysalis_codecs::Frame;

use super::IsolatedError;
use super::wire::{Answer, Request, read_answer};

/// A running child. It is killed and waited for when it is dropped.
#[derive(Debug)]
pub(super) struct Child {
    process: Process,
    input: ChildStdin,
    output: ChildStdout,
}

impl Child {
    pub(super) fn start(executable: &Path) -> Result<Self, IsolatedError> {
        let mut command = Command::new(executable);
        // Nothing of the router's surroundings concerns it, and what it may say on its way down could be anything.
        command
            .arg("decode-worker")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // An interrupt from the terminal is the router's to handle.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process = command.spawn().map_err(IsolatedError::Start)?;
        match (process.stdin.take(), process.stdout.take()) {
            (Some(input), Some(output)) => Ok(Self { process, input, output }),
            _ => Err(IsolatedError::Start(std::io::Error::other("it has no pipes"))),
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it has not ended yet.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Sends a request and waits for its answer. The child comes back only if it can be asked again.
    pub(super) fn ask(
        mut self,
        request: &Request,
        bytes: &[u8],
        deadline: Duration,
    ) -> (Option<Self>, Result<Frame, IsolatedError>) {
        let (process, input, output) = (&mut self.process, &mut self.input, &mut self.output);
        let (sender, receiver) = channel();
        let (answer, in_time) = std::thread::scope(|scope| {
            // Pipes have no deadlines of their own: this thread waits on the pipe, and we on the thread.
            let wait = std::thread::Builder::new().name("decoder".into()).spawn_scoped(scope, move || {
                let answer = match request.write(input, bytes) {
                    Ok(()) => read_answer(output, request.limits),
                    Err(_) => Answer::None,
                };
                // Whoever waits may have given up.
                let _ = sender.send(answer);
            });
            if let Err(error) = wait {
                return (Answer::Given(Err(IsolatedError::Start(error))), true);
            }
            match receiver.recv_timeout(deadline) {
                Ok(answer) => (answer, true),
                Err(_) => {
                    // Its end closes the pipes, and so ends the thread.
                    let _ = process.kill();
                    (Answer::None, false)
                }
            }
        });
        match answer {
            Answer::Given(answer) => {
                let sound = !matches!(answer, Err(IsolatedError::Nonsense(_)));
                (sound.then_some(self), answer)
            }
            Answer::None if in_time => {
                // The pipe is closed: the process has ended or is about to, unless it closed its output, which it never does.
                let _ = self.process.kill();
                let status =
                    self.process.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                (None, Err(IsolatedError::Died { status }))
            }
            Answer::None => (None, Err(IsolatedError::Timeout { after: deadline })),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
