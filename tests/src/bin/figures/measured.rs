//! A program that is measured: this one again, in a process of its own, so that its CPU time and memory are its own. It
//! says `ready`, and begins when its standard input ends.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Stdio},
};

use streamkeeper_tests::server::Server;

/// A running one.
pub(crate) struct Measured {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Measured {
    /// Starts what the words name, on this server.
    pub(crate) fn start(server: &Server, words: &[&str]) -> Measured {
        let program = std::env::current_exe().expect("our own path");
        let mut command = Command::new(program);
        command.arg("--child").arg(server.url()).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a child of our own");
        let lines = BufReader::new(child.stdout.take().expect("its output"));
        Measured { child, lines }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Lets it begin.
    pub(crate) fn begin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// The next line that it says.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// The numbers that it says in its next line.
    pub(crate) fn numbers<const N: usize>(&mut self) -> [f64; N] {
        let said = self.line();
        let numbers: Vec<f64> = said.split(' ').map(|number| number.parse().expect("a number")).collect();
        numbers.try_into().unwrap_or_else(|_| panic!("{N} numbers, and not `{said}`"))
    }

    /// It says this next.
    pub(crate) fn expect(&mut self, word: &str) {
        assert_eq!(self.line(), word);
    }

    /// SIGKILL.
    pub(crate) fn end(mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }
}

/// The child's side: waits until it is to begin.
pub(crate) fn begin() {
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("the end of the input");
}
