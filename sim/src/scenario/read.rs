//! From a scenario's file, and what is set from outside, to a plan and its expectations.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use toml::Spanned;

use super::{
    Bad, Scenario,
    bad::{FROM_SET, Source},
    expect::{Expectation, Figure, Limit, Streams},
    file::{Application, Expect, File, Group, Redis, Settings, Text, Value},
    span::Names,
};
use crate::{
    facts::millis,
    plan::{
        Action, App, ConsumerPlan, Persistence, Plan, RedisPlan, Servers, Timed,
        text::{parse_span, print_span},
    },
};

/// When the streams of `streams = …` are announced: the consumers have connected.
const ANNOUNCED_AT: Duration = Duration::from_millis(500);

/// In all groups together. More of them say nothing new, and take for ever.
const MOST_CONSUMERS: usize = 1_000;

pub(super) fn read(file: &str, text: &str, set: &[(String, String)]) -> Result<Scenario, Bad> {
    let source = Source { file, text };
    let mut shape: File = toml::from_str(text).map_err(|error| source.not_toml(&error))?;
    for (key, value) in set {
        put(&mut shape, key, value).map_err(|why| source.bad(key, &FROM_SET, why))?;
    }
    let names = names(&shape);
    Reader { source, file: &shape, names }.scenario()
}

/// Puts a value from outside over what the file says.
fn put(file: &mut File, key: &str, value: &str) -> Result<(), String> {
    let number = || value.parse::<u64>().map_err(|_| format!("`{value}` is no number"));
    let text = || Spanned::new(FROM_SET, value.to_owned());
    match key {
        "streams" => file.streams = Spanned::new(FROM_SET, number()?),
        "seeds" => file.seeds = Spanned::new(FROM_SET, number()?),
        "lasts" => file.lasts = text(),
        _ if file.with.contains_key(key) => {
            file.with.insert(key.to_owned(), Spanned::new(FROM_SET, Value::Text(value.to_owned())));
        }
        _ if Settings::NAMES.contains(&key) => {
            let bare = toml::from_str::<Settings>(&format!("{key} = {value}"));
            let set = bare.or_else(|_| toml::from_str(&format!("{key} = {value:?}")));
            let mut set = set.map_err(|error| error.message().replace('\n', "; "))?;
            set.moved();
            file.settings = set.or(&file.settings);
            for group in &mut file.consumers {
                group.settings = set.or(&group.settings);
            }
        }
        _ => {
            let mut known: Vec<&str> = vec!["streams", "seeds", "lasts"];
            known.extend(file.with.keys().map(String::as_str));
            known.extend(Settings::NAMES);
            return Err(format!("there is no such setting; there are: {}", known.join(", ")));
        }
    }
    Ok(())
}

impl Settings {
    /// They do not come from the file.
    fn moved(&mut self) {
        fn text<T>(value: &mut Option<Spanned<T>>) {
            *value = value.take().map(|value| Spanned::new(FROM_SET, value.into_inner()));
        }
        text(&mut self.lease_ttl);
        text(&mut self.heartbeat);
        text(&mut self.reap_interval);
        text(&mut self.claim_delay);
        text(&mut self.claim);
        text(&mut self.capacity);
        text(&mut self.max_takeovers);
        text(&mut self.max_failures);
        text(&mut self.output_buffer);
    }
}

/// The `lease_ttl` of `[settings]` is called `ttl`; the others are the file's own.
fn names(file: &File) -> Names {
    let default = print_span(Duration::from_millis(ConsumerPlan::default().ttl_ms));
    let ttl = file.settings.lease_ttl.as_ref().map_or(default, |ttl| ttl.get_ref().clone());
    let own = file.with.iter().map(|(name, value)| {
        let value = match value.get_ref() {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
        };
        (name.clone(), value)
    });
    let mut names: BTreeMap<String, String> = own.collect();
    names.insert("ttl".to_owned(), ttl);
    Names(names)
}

struct Reader<'a> {
    source: Source<'a>,
    file: &'a File,
    names: Names,
}

impl Reader<'_> {
    fn scenario(&self) -> Result<Scenario, Bad> {
        let file = self.file;
        let mut consumers = Vec::new();
        for group in &file.consumers {
            self.group(group, &mut consumers)?;
        }
        let lasts = self.span("lasts", &file.lasts)?;
        let calm = file.finish_within.as_ref().map(|within| self.span("finish_within", within)).transpose()?;
        let names: Vec<String> = consumers.iter().map(|consumer| consumer.name.clone()).collect();
        let plan = Plan {
            seed: 0,
            latency_us: self.latency()?,
            redis: self.redis(&file.redis)?,
            actions: self.actions(&names)?,
            servers: self.servers(&file.redis)?,
            consumers,
            heal_at: lasts,
            // The first half is for what must be owned before it can be finished.
            calm: calm.unwrap_or_default() * 2,
            finish: calm.is_some(),
        };
        let seeds = *file.seeds.get_ref();
        if seeds == 0 {
            return Err(self.source.bad("seeds", &file.seeds.span(), "at least 1 is expected"));
        }
        let expect = file.expect.iter().map(|expect| self.expect(expect, &names)).collect::<Result<_, _>>()?;
        let name = std::path::Path::new(self.source.file).file_stem();
        let name = name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(Scenario { name, about: file.about.trim().to_owned(), seeds, plan, expectations: expect })
    }

    fn group(&self, group: &Group, consumers: &mut Vec<ConsumerPlan>) -> Result<(), Bad> {
        let settings = group.settings.or(&self.file.settings);
        let mut plan = self.consumer(&settings)?;
        (plan.go, plan.joins, plan.drift_ppm) = (group.go, !group.absent, group.drift_ppm);
        plan.app = self.application(group.application.as_ref().unwrap_or(&self.file.application))?;
        // The Go library has no such settings to check.
        if !plan.go
            && let Err(error) = plan.check()
        {
            // It begins with the setting's name.
            let why = error.to_string();
            let (key, _) = why.split_once(' ').unwrap_or(("settings", ""));
            let place = if key == "heartbeat" { &settings.heartbeat } else { &settings.lease_ttl };
            let place = place.as_ref().or(settings.lease_ttl.as_ref()).map_or_else(|| group.name.span(), Spanned::span);
            return Err(self.source.bad(key, &place, why.as_str()));
        }
        let count = group.count.as_ref().map(|count| *count.get_ref());
        if count.unwrap_or(1) > (MOST_CONSUMERS - consumers.len()) as u64 {
            let (key, place) =
                group.count.as_ref().map_or(("name", group.name.span()), |count| ("count", count.span()));
            return Err(self.source.bad(
                key,
                &place,
                format!("at most {MOST_CONSUMERS} consumers are expected in all"),
            ));
        }
        let name = group.name.get_ref();
        if name.is_empty() || name.contains(char::is_whitespace) || name.contains(['#', '"']) {
            return Err(self.source.bad("name", &group.name.span(), "one word is expected"));
        }
        for number in 0..count.unwrap_or(1) {
            let name = if count.is_some() { format!("{name}-{number}") } else { name.clone() };
            if consumers.iter().any(|other| other.name == name) {
                return Err(self.source.bad("name", &group.name.span(), format!("{name} is there twice")));
            }
            consumers.push(ConsumerPlan { name, ..plan.clone() });
        }
        Ok(())
    }

    fn consumer(&self, settings: &Settings) -> Result<ConsumerPlan, Bad> {
        let default = ConsumerPlan::default();
        let span = |key: &str, text: &Option<Text>, default: u64| match text {
            Some(text) => self.span(key, text).map(millis),
            None => Ok(default),
        };
        let manual = match &settings.claim {
            Some(claim) => self.choice("claim", claim, "manual", "auto")?,
            None => default.manual,
        };
        fn or<T: Copy>(value: &Option<Spanned<T>>, default: T) -> T {
            value.as_ref().map_or(default, |value| *value.get_ref())
        }
        let ttl_ms = span("lease_ttl", &settings.lease_ttl, default.ttl_ms)?;
        Ok(ConsumerPlan {
            ttl_ms,
            // As in plans: a third, which is the default of the default.
            heartbeat_ms: span("heartbeat", &settings.heartbeat, ttl_ms / 3)?,
            reap_ms: span("reap_interval", &settings.reap_interval, default.reap_ms)?,
            claim_delay_ms: span("claim_delay", &settings.claim_delay, default.claim_delay_ms)?,
            capacity: or(&settings.capacity, default.capacity),
            max_takeovers: or(&settings.max_takeovers, default.max_takeovers),
            max_failures: or(&settings.max_failures, default.max_failures),
            output_buffer: or(&settings.output_buffer, default.output_buffer),
            manual,
            ..default
        })
    }

    fn application(&self, application: &Application) -> Result<App, Bad> {
        let default = App::default();
        let work_ms = match &application.work {
            None => None,
            Some(work) => {
                let (least, most) = work.get_ref().split_once("..").unwrap_or((work.get_ref(), work.get_ref()));
                let [least, most] = [least, most].map(|text| self.spans("work", &work.span(), text).map(millis));
                Some((least?, most?))
            }
        };
        let ends =
            application.ends.map_or(default.ends, |ends| [ends.done, ends.release, ends.fail, ends.panic, ends.hang]);
        let reads =
            application.reads_every.as_ref().map(|text| self.span("reads_every", text).map(millis)).transpose()?;
        let runs = application.handler.unwrap_or(default.runs);
        Ok(App { runs, work_ms, ends, reads_every_ms: reads.unwrap_or(default.reads_every_ms), ..default })
    }

    fn redis(&self, redis: &Redis) -> Result<RedisPlan, Bad> {
        let default = RedisPlan::default();
        let persistence = match &redis.persistence {
            None => default.persistence,
            Some(text) => match text.get_ref().split_once(':') {
                Some(("rdb", every)) => {
                    Persistence::Rdb { every_ms: millis(self.spans("persistence", &text.span(), every)?) }
                }
                None if text.get_ref() == "none" => Persistence::None,
                None if text.get_ref() == "aof" => Persistence::Aof,
                None if text.get_ref() == "aof-always" => Persistence::AofAlways,
                _ => {
                    let why = "`none`, `rdb:30s`, `aof` or `aof-always` is expected";
                    return Err(self.source.bad("persistence", &text.span(), why));
                }
            },
        };
        let forbidden =
            redis.config.as_ref().map(|text| self.choice("config", text, "forbidden", "allowed")).transpose()?;
        let lag = redis.replica_lag.as_ref().map(|text| self.span("replica_lag", text).map(millis)).transpose()?;
        let uptime = redis.uptime.as_ref().map(|text| self.span("uptime", text)).transpose()?;
        Ok(RedisPlan {
            persistence,
            hz: redis.hz.unwrap_or(default.hz),
            notify: redis.notify.clone().unwrap_or(default.notify),
            config_allowed: forbidden.map_or(default.config_allowed, |forbidden| !forbidden),
            replica_lag_ms: lag.unwrap_or(default.replica_lag_ms),
            other_keys: redis.other_keys.unwrap_or(default.other_keys),
            uptime_s: uptime.map_or(default.uptime_s, |uptime| uptime.as_secs()),
        })
    }

    fn servers(&self, redis: &Redis) -> Result<Servers, Bad> {
        let Some(text) = &redis.topology else { return Ok(Servers::default()) };
        let topology = text.get_ref().parse().map_err(|why: String| self.source.bad("topology", &text.span(), why))?;
        Ok(Servers { topology, wait_ms: None })
    }

    fn latency(&self) -> Result<(u64, u64), Bad> {
        let Some(text) = &self.file.latency else { return Ok(Plan::default().latency_us) };
        let range = text.get_ref().split_once("..").and_then(|(least, most)| {
            let us = |text: &str| u64::try_from(parse_span(text.trim())?.as_micros()).ok();
            Some((us(least)?, us(most)?))
        });
        let range = range.filter(|(least, most)| least <= most);
        range.ok_or_else(|| self.source.bad("latency", &text.span(), "a range such as `200us..1ms` is expected"))
    }

    fn actions(&self, names: &[String]) -> Result<Vec<Timed>, Bad> {
        let count = *self.file.streams.get_ref();
        let announce = Action::Announce { prefix: "orders-".to_owned(), from: 1, count };
        let announce = Timed { at: ANNOUNCED_AT, action: announce };
        let mut actions: Vec<Timed> = (count > 0).then_some(announce).into_iter().collect();
        for at in &self.file.at {
            let time = self.span("time", &at.time)?;
            self.in_time("time", &at.time, time)?;
            let bad = |why: String| self.source.bad("do", &at.action.span(), why);
            let text = self.names.fill(at.action.get_ref()).map_err(bad)?;
            let action = Action::parse(&text, names).map_err(|error| {
                let found = error.word.map_or_else(|| "it ends too early".to_owned(), |word| format!("found `{word}`"));
                bad(format!("{found}, expected {}", error.expected))
            })?;
            if action.consumer().is_some_and(|consumer| consumer >= names.len()) {
                return Err(bad(format!("the consumers are: {}", names.join(", "))));
            }
            actions.push(Timed { at: time, action });
        }
        actions.sort_by_key(|timed| timed.at);
        Ok(actions)
    }

    fn expect(&self, expect: &Expect, names: &[String]) -> Result<Expectation, Bad> {
        match expect {
            Expect { owned: Some(streams), within: Some(within), after: Some(after), .. } => {
                let [after, span] = [self.span("after", after)?, self.span("within", within)?];
                self.in_time("within", within, after + span)?;
                Ok(Expectation::Owned { streams: Streams(streams.get_ref().clone()), after, within: span })
            }
            Expect { owned: Some(streams), .. } => {
                Err(self.source.bad("owned", &streams.span(), "`within` and `after` belong to it"))
            }
            Expect { figure: Some(figure), at_most, at_least, .. } => self.figure(figure, at_most, at_least),
            Expect { finished: Some(streams), .. } => Ok(Expectation::Finished(Streams(streams.get_ref().clone()))),
            Expect { set_aside: Some(streams), reason, .. } => Ok(Expectation::SetAside {
                streams: Streams(streams.get_ref().clone()),
                reason: reason.as_ref().map(|reason| reason.get_ref().clone()),
            }),
            Expect { consumer: Some(name), owns_at_least: Some(least), at: Some(at), .. } => {
                let index = names.iter().position(|other| other == name.get_ref());
                let why = || format!("the consumers are: {}", names.join(", "));
                let consumer = index.ok_or_else(|| self.source.bad("consumer", &name.span(), why()))?;
                let place = at;
                let at = self.span("at", at)?;
                self.in_time("at", place, at)?;
                Ok(Expectation::Owns { consumer, name: name.get_ref().clone(), at_least: *least.get_ref(), at })
            }
            Expect { consumer: Some(name), .. } => {
                Err(self.source.bad("consumer", &name.span(), "`owns_at_least` and `at` belong to it"))
            }
            _ => {
                let place = expect.place();
                let why = "one of `owned`, `figure`, `finished`, `set_aside` and `consumer` is expected";
                Err(self.source.bad("expect", &place, why))
            }
        }
    }

    fn figure(
        &self,
        figure: &Text,
        at_most: &Option<Spanned<Value>>,
        at_least: &Option<Spanned<Value>>,
    ) -> Result<Expectation, Bad> {
        let known = Figure::ALL.iter().find(|(name, _)| name == figure.get_ref()).map(|(_, figure)| *figure);
        let known = known.ok_or_else(|| {
            let names: Vec<_> = Figure::ALL.iter().map(|(name, _)| *name).collect();
            self.source.bad("figure", &figure.span(), format!("the figures are: {}", names.join(", ")))
        })?;
        if at_most.is_none() && at_least.is_none() {
            return Err(self.source.bad("figure", &figure.span(), "`at_most` or `at_least` belongs to it"));
        }
        let limit = |key, value: &Option<Spanned<Value>>| {
            value.as_ref().map(|value| self.limit(key, value, known.is_span())).transpose()
        };
        let (at_least, at_most) = (limit("at_least", at_least)?, limit("at_most", at_most)?);
        Ok(Expectation::Figure { figure: known, at_least, at_most })
    }

    fn limit(&self, key: &str, value: &Spanned<Value>, is_span: bool) -> Result<Limit, Bad> {
        match value.get_ref() {
            Value::Text(text) if is_span => self.spans(key, &value.span(), text).map(Limit::Span),
            Value::Number(count) if !is_span => Ok(Limit::Count(*count)),
            _ if is_span => Err(self.source.bad(key, &value.span(), format!("{} is expected", super::span::SPAN))),
            _ => Err(self.source.bad(key, &value.span(), "a number is expected")),
        }
    }

    /// Whether it is the first word and not the second.
    fn choice(&self, key: &str, text: &Text, yes: &str, no: &str) -> Result<bool, Bad> {
        match text.get_ref().as_str() {
            word if word == yes => Ok(true),
            word if word == no => Ok(false),
            _ => Err(self.source.bad(key, &text.span(), format!("`{no}` or `{yes}` is expected"))),
        }
    }

    /// Whether a time lies within the run.
    fn in_time(&self, key: &str, place: &Text, at: Duration) -> Result<(), Bad> {
        let lasts = self.span("lasts", &self.file.lasts)?;
        let why = || format!("{} is too late, the run lasts for {}", print_span(at), print_span(lasts));
        if at > lasts { Err(self.source.bad(key, &place.span(), why())) } else { Ok(()) }
    }

    fn span(&self, key: &str, text: &Text) -> Result<Duration, Bad> {
        self.spans(key, &text.span(), text.get_ref())
    }

    fn spans(&self, key: &str, place: &Range<usize>, text: &str) -> Result<Duration, Bad> {
        self.names.span(text).map_err(|why| self.source.bad(key, place, why))
    }
}

impl Expect {
    /// Where it stands, by anything that it has.
    fn place(&self) -> Range<usize> {
        let texts = [&self.within, &self.after, &self.reason, &self.at];
        let values = [&self.at_most, &self.at_least];
        let text = texts.into_iter().flatten().map(Spanned::span).next();
        let value = values.into_iter().flatten().map(Spanned::span).next();
        text.or(value).or(self.owns_at_least.as_ref().map(Spanned::span)).unwrap_or(0..0)
    }
}
