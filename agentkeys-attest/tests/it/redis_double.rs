//! A Redis server as far as a guard sees one: RESP on loopback, and a script of what it does wrong.
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>

use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What it does with a command, instead of what it should.
#[derive(Clone, Debug)]
pub(crate) enum Wrong {
    /// Answers these bytes.
    Says(&'static str),
    /// Carries it out and answers nothing.
    DoesAndHangs,
    /// Closes the connection.
    Closes,
    /// Carries it out and closes the connection.
    DoesAndCloses,
}

#[derive(Debug)]
pub(crate) struct Double {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    keys: HashSet<Vec<u8>>,
    wrong: VecDeque<Wrong>,
    always: Option<Wrong>,
    info: String,
    commands: Vec<Vec<String>>,
    connections: usize,
}

pub(crate) const WELL: &str = "# Server\r\nuptime_in_seconds:5\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n# Persistence\r\naof_enabled:1\r\n";

impl Double {
    pub(crate) async fn start() -> Self {
        Self::listen(None).await
    }

    pub(crate) async fn with_tls(tls: TlsAcceptor) -> Self {
        Self::listen(Some(tls)).await
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            keys: HashSet::new(),
            wrong: VecDeque::new(),
            always: None,
            info: WELL.to_owned(),
            commands: Vec::new(),
            connections: 0,
        }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                shared.lock().unwrap().connections += 1;
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    let _ = match tls {
                        None => serve(stream, &shared).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &shared).await,
                            Err(error) => Err(error),
                        },
                    };
                });
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The next `SET`, once.
    pub(crate) fn next(&self, wrong: Wrong) {
        self.state.lock().unwrap().wrong.push_back(wrong);
    }

    /// Every `SET` from now on.
    pub(crate) fn always(&self, wrong: Option<Wrong>) {
        self.state.lock().unwrap().always = wrong;
    }

    /// What it says of itself.
    pub(crate) fn info(&self, info: &str) {
        info.clone_into(&mut self.state.lock().unwrap().info);
    }

    pub(crate) fn commands(&self) -> Vec<Vec<String>> {
        self.state.lock().unwrap().commands.clone()
    }

    /// The names of the commands, without those of the login.
    pub(crate) fn sets(&self) -> usize {
        self.commands().iter().filter(|command| command[0] == "SET").count()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }
}

async fn serve(
    stream: impl tokio::io::AsyncRead + AsyncWrite + Unpin,
    state: &Mutex<State>,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let command = command(&mut stream).await?;
        let answer = {
            let mut state = state.lock().unwrap();
            state.commands.push(command.clone());
            match command[0].as_str() {
                "INFO" if state.info.starts_with(['-', '+', '$', ':', '*']) => state.info.clone(),
                "INFO" => format!("${}\r\n{}\r\n", state.info.len(), state.info),
                "AUTH" if command.last().is_some_and(|password| password == "MARKED-wrong") => {
                    "-WRONGPASS MARKED invalid username-password pair\r\n".to_owned()
                }
                "AUTH" | "SELECT" => "+OK\r\n".to_owned(),
                "SET" => {
                    let wrong = state.wrong.pop_front().or_else(|| state.always.clone());
                    match wrong {
                        Some(Wrong::Says(said)) => said.to_owned(),
                        Some(Wrong::Closes) => return Ok(()),
                        Some(Wrong::DoesAndCloses) => {
                            set(&mut state, &command);
                            return Ok(());
                        }
                        Some(Wrong::DoesAndHangs) => {
                            set(&mut state, &command);
                            String::new()
                        }
                        None => set(&mut state, &command).to_owned(),
                    }
                }
                _ => "-ERR MARKED unknown command\r\n".to_owned(),
            }
        };
        stream.get_mut().write_all(answer.as_bytes()).await?;
        stream.get_mut().flush().await?;
    }
}

fn set(state: &mut State, command: &[String]) -> &'static str {
    let [_, key, value, nx, px, lifetime] = command else { return "-ERR syntax error\r\n" };
    let well = value == "1" && nx == "NX" && px == "PX" && lifetime.parse::<i64>().is_ok_and(|ms| ms > 0);
    if !well {
        return "-ERR invalid expire time in 'set' command\r\n";
    }
    if state.keys.insert(key.clone().into_bytes()) { "+OK\r\n" } else { "$-1\r\n" }
}

async fn command(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<String>> {
    let count = number(stream, '*').await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; number(stream, '$').await? + 2];
        stream.read_exact(&mut word).await?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8(word).unwrap());
    }
    Ok(words)
}

async fn number(stream: &mut (impl AsyncBufRead + Unpin), sign: char) -> io::Result<usize> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().strip_prefix(sign).unwrap().parse().unwrap())
}
