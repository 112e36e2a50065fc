//! `console` blocks of a Markdown page: what is typed, and what is shown.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::AsyncWriteExt;

/// For all commands of a block.
const RUN_BOUND: Duration = Duration::from_secs(60);
/// Printed between what two commands show, on both outputs.
const MARK: &str = "--- next command ---";
/// What psql's prompts end with; the first word of the line ends with one of them.
const PROMPTS: [&str; 6] = ["=> ", "=# ", "-> ", "-# ", "=*> ", "=!> "];

/// Variables of the shell.
pub(crate) struct Environment(pub(crate) Vec<(&'static str, String)>);

/// Whether a block may be tried again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    Once,
    Until,
}

/// Whether numbers other than 0 must be those on the page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    Count,
    Differ,
}

/// One block.
pub(crate) struct Block {
    /// As it stands on the page.
    pub(crate) text: String,
    pub(crate) patience: Patience,
    pub(crate) numbers: Numbers,
}

/// The blocks below the heading `### number.`.
pub(crate) fn blocks(page: &str, number: usize) -> Result<Vec<Block>> {
    let heading = format!("### {number}.");
    let section = page
        .lines()
        .skip_while(|line| !line.starts_with(&heading))
        .skip(1);
    let mut section = section.take_while(|line| !line.starts_with("## ") && !line.starts_with("### "));
    let mut found = Vec::new();
    let (mut patience, mut numbers) = (Patience::Once, Numbers::Count);
    while let Some(line) = section.next() {
        if let Some(words) = line
            .strip_prefix("<!-- ")
            .and_then(|rest| rest.strip_suffix(" -->"))
        {
            for word in words.split("; ") {
                match word {
                    "until" => patience = Patience::Until,
                    "numbers differ" => numbers = Numbers::Differ,
                    _ => bail!("what is {line}?"),
                }
            }
        }
        if line == "```console" {
            let lines: Vec<&str> = section.by_ref().take_while(|line| *line != "```").collect();
            found.push(Block {
                text: lines.join("\n"),
                patience,
                numbers,
            });
            (patience, numbers) = (Patience::Once, Numbers::Count);
        }
    }
    Ok(found)
}

/// A program and what is typed into it, line by line with its prompt.
struct Run<'a> {
    command: &'a str,
    typed: Vec<(&'a str, &'a str)>,
}

impl Block {
    /// Types what the block types; gives the block with what is shown in truth.
    pub(crate) async fn run(&self, environment: &Environment) -> Result<String> {
        let mut shown = String::new();
        for run in self.runs()? {
            let text = tokio::time::timeout(RUN_BOUND, run.run(environment)).await;
            shown.push_str(&text.with_context(|| format!("{} did not end", run.command))??);
        }
        Ok(shown.trim_end().to_owned())
    }

    fn runs(&self) -> Result<Vec<Run<'_>>> {
        let mut runs: Vec<Run<'_>> = Vec::new();
        for line in self.text.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                runs.push(Run {
                    command,
                    typed: Vec::new(),
                });
            } else if let Some((prompt, typed)) = prompted(line) {
                let run = runs
                    .last_mut()
                    .context("a block begins with a line `$ program`")?;
                run.typed.push((prompt, typed));
            }
        }
        ensure!(!runs.is_empty(), "a block without a command: {}", self.text);
        Ok(runs)
    }
}

/// A line as prompt and what is typed after it.
fn prompted(line: &str) -> Option<(&str, &str)> {
    let end = PROMPTS
        .iter()
        .filter_map(|prompt| Some(line.find(prompt)? + prompt.len()))
        .min()?;
    let (prompt, typed) = line.split_at_checked(end)?;
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
    is_name(prompt.trim_end_matches(['=', '-', '*', '!', '>', '#', ' '])).then_some((prompt, typed))
}

impl Run<'_> {
    async fn run(&self, environment: &Environment) -> Result<String> {
        let mut shell = tokio::process::Command::new("bash");
        shell
            .args(["-c", self.command])
            .envs(environment.0.iter().map(|(name, value)| (name, value)))
            .env("PSQLRC", "/dev/null")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = shell.spawn().context("bash could not be started")?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        stdin.write_all(self.input().as_bytes()).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(self.page(&out, &err))
    }

    /// Whether what is typed from here on is a command of its own, and not the rest of one.
    fn is_start(prompt: &str) -> bool {
        !prompt.contains('-')
    }

    fn input(&self) -> String {
        let mut input = String::new();
        for (n, (prompt, typed)) in self.typed.iter().enumerate() {
            if n > 0 && Self::is_start(prompt) {
                input.push_str(&format!("\\echo '{MARK}'\n\\warn '{MARK}'\n"));
            }
            input.push_str(typed);
            input.push('\n');
        }
        input
    }

    /// The run as it would stand on the page.
    fn page(&self, out: &str, err: &str) -> String {
        let mark = format!("{MARK}\n");
        let (mut out, mut err) = (out.split(&mark), err.split(&mark));
        let mut page = format!("$ {}\n", self.command);
        if self.typed.is_empty() {
            page.push_str(out.next().unwrap_or_default());
            page.push_str(err.next().unwrap_or_default());
        }
        for (n, (prompt, typed)) in self.typed.iter().enumerate() {
            page.push_str(&format!("{prompt}{typed}\n"));
            let next = self.typed.get(n + 1);
            if next.is_none_or(|(prompt, _)| Self::is_start(prompt)) {
                page.push_str(out.next().unwrap_or_default());
                page.push_str(err.next().unwrap_or_default());
            }
        }
        page
    }
}

/// The same for texts that say the same: widths of columns differ, and addresses and positions differ between runs.
pub(crate) fn normalised(text: &str, numbers: Numbers) -> String {
    let lines = text.lines().map(|line| {
        let words = line.split_whitespace().map(|text| word(text, numbers));
        words.collect::<Vec<_>>().join(" ")
    });
    lines
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

fn word(word: &str, numbers: Numbers) -> String {
    let all = |text: &str, is: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|byte| is(&byte));
    if word.len() > 2 && all(word, |byte| matches!(byte, b'-' | b'+')) {
        return "---".to_owned();
    }
    if word
        .strip_prefix("127.0.0.1:")
        .is_some_and(|port| all(port, u8::is_ascii_digit))
    {
        return "127.0.0.1:PORT".to_owned();
    }
    let is_position =
        |(high, low): (&str, &str)| all(high, u8::is_ascii_hexdigit) && all(low, u8::is_ascii_hexdigit);
    if word.split_once('/').is_some_and(is_position) {
        return "POSITION".to_owned();
    }
    if numbers == Numbers::Differ && word != "0" && all(word, u8::is_ascii_digit) {
        return "NUMBER".to_owned();
    }
    word.to_owned()
}
