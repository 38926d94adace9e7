//! `redis`: the simulated Redis on a real socket, in real time.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use streamkeeper::{ByteStream, Time};
use streamkeeper_sim::{
    plan::{Persistence, RedisPlan},
    redis::{Redis, reply::Reply, serve::Server},
};
use tokio::{
    net::{TcpListener, UnixListener, UnixStream},
    task::LocalSet,
};

use super::exit::Exit;

/// Listens as a Redis 7.0 on 127.0.0.1 until it is interrupted. Nothing is written to disk.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which port; 0: any that is free. It is printed.
    #[arg(long, value_name = "N", default_value_t = 6379)]
    port: u16,
    /// What it says survives a crash: `none`, `aof`, `aof-always` or `rdb:<every ms>`.
    #[arg(long, default_value = "none", value_parser = persistence)]
    persistence: Persistence,
    /// `notify-keyspace-events`.
    #[arg(long, value_name = "FLAGS", default_value = "")]
    notify: String,
    /// How many times a second lapsed keys are looked for.
    #[arg(long, value_name = "N", default_value_t = 10)]
    hz: u32,
    /// How many connections there may be.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    maxclients: u32,
    /// The password that clients must send.
    #[arg(long, value_name = "PASSWORD")]
    requirepass: Option<String>,
    /// It listens there, too.
    #[arg(long, value_name = "PATH")]
    unixsocket: Option<PathBuf>,
    /// A setting as CONFIG SET takes it; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// CONFIG is refused, as by many a provider.
    #[arg(long)]
    no_config: bool,
    /// What chance is drawn from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn persistence(text: &str) -> Result<Persistence, String> {
    match text {
        "none" => Ok(Persistence::None),
        "aof" => Ok(Persistence::Aof),
        "aof-always" => Ok(Persistence::AofAlways),
        other => match other.strip_prefix("rdb:").and_then(|every| every.parse().ok()) {
            Some(every_ms) if every_ms > 0 => Ok(Persistence::Rdb { every_ms }),
            _ => Err("none, aof, aof-always or rdb:<every ms>".to_owned()),
        },
    }
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let served = runtime.and_then(|runtime| LocalSet::new().block_on(&runtime, self.serve()));
        served.map(|()| Exit::Ok).map_err(|error| error.to_string())
    }

    async fn serve(self) -> std::io::Result<()> {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await?;
        let unix = self.unixsocket.as_ref().map(UnixListener::bind).transpose()?;
        let began = Instant::now();
        let server = Server::new(self.redis()?, move || Time::ZERO + began.elapsed(), |_| {});
        let ticker = server.clone();
        tokio::task::spawn_local(async move { ticker.tick().await });
        println!("listening on {}", tcp.local_addr()?);
        loop {
            let stream: Box<dyn ByteStream> = tokio::select! {
                biased;
                end = tokio::signal::ctrl_c() => return end,
                () = server.ended() => return Ok(()),
                accepted = tcp.accept() => {
                    let (stream, _) = accepted?;
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
                accepted = accept(unix.as_ref()) => Box::new(accepted?),
            };
            let server = server.clone();
            tokio::task::spawn_local(async move { server.serve(stream, |_| {}).await });
        }
    }

    fn redis(&self) -> std::io::Result<Redis> {
        let plan = RedisPlan {
            persistence: self.persistence,
            hz: self.hz,
            notify: self.notify.clone(),
            config_allowed: !self.no_config,
            uptime_s: 0,
            other_keys: 0,
            ..RedisPlan::default()
        };
        let mut redis = Redis::new(&plan, self.seed, Time::ZERO);
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        redis.set_wall(u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX));
        let maxclients = format!("maxclients={}", self.maxclients);
        let password = self.requirepass.iter().map(|password| format!("requirepass={password}"));
        for setting in self.set.iter().cloned().chain(password).chain([maxclients]) {
            let (name, value) = setting.split_once('=').unwrap_or((&setting, ""));
            if let Reply::Error(why) = redis.command(["CONFIG", "SET", name, value].map(str::to_owned)) {
                return Err(std::io::Error::other(why));
            }
        }
        Ok(redis)
    }
}

/// Where nobody listens, nobody comes.
async fn accept(listener: Option<&UnixListener>) -> std::io::Result<UnixStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}
