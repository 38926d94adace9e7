use super::*;
use crate::redis::{Version, lua, reply::Reply};

fn eval(talk: &mut Talk, script: &str) -> Reply {
    talk.redis.command(["EVAL", script, "0"].map(str::to_owned))
}

#[test]
fn replies_are_converted_both_ways() {
    let mut talk = Talk::new();
    for (script, reply) in [
        ("return {1, 2.9, 'a', false, true, {ok = 'FINE'}, nil, 4}", {
            let fine = Reply::status("FINE");
            Reply::Array(vec![Reply::Int(1), Reply::Int(2), Reply::bulk("a"), Reply::Nil, Reply::Int(1), fine])
        }),
        ("return redis.call('GET', 'nothing') == false", Reply::Int(1)),
        ("return redis.call('SET', 'k', 1.5).ok", Reply::bulk("OK")),
        ("return redis.call('GET', 'k')", Reply::bulk("1.5")),
        ("return type(redis.call('INCR', 'n'))", Reply::bulk("number")),
        ("return redis.call('ECHO', 123456789012345678)", Reply::bulk("1.2345678901234568e+17")),
        ("return 1e20", Reply::Int(i64::MIN)),
        ("return redis.pcall('GET').err", Reply::bulk("ERR Wrong number of args calling Redis command from script")),
        ("return {err = 'MY error'}", Reply::error("MY error")),
        ("return redis.error_reply('word')", Reply::error("ERR word")),
        ("redis.setresp(3) return redis.call('GET', 'nothing') == nil", Reply::Int(1)),
        ("local a = {} for i = 1, 50 do a = {a} end return #a", Reply::Int(1)),
        ("return redis.sha1hex('')", Reply::bulk("da39a3ee5e6b4b0d3255bfef95601890afd80709")),
    ] {
        assert_eq!(eval(&mut talk, script), reply, "{script}");
    }
}

#[test]
fn a_script_that_fails_says_where() {
    let mut talk = Talk::new();
    for (script, error, line) in [
        ("return redis.call('NOPE')", "ERR Unknown Redis command called from script", 1),
        ("local x = 1\nreturn redis.call('GET')", "ERR Wrong number of args calling Redis command from script", 2),
        ("\n\nerror('no')", "ERR user_script:3: no", 3),
        ("error({err = 'MY no'})", "MY no", 1),
        ("return foo", "ERR user_script:1: Script attempted to access nonexistent global variable 'foo'", 1),
        ("foo = 1", "ERR user_script:1: Attempt to modify a readonly table", 1),
        ("return nil .. 'a'", "ERR user_script:1: attempt to concatenate a nil value", 1),
        ("return redis.call('EVAL', 'return 1', 0)", "ERR This Redis command is not allowed from script", 1),
    ] {
        let hash = lua::hash(script.as_bytes());
        let told = format!("{error} script: {hash}, on @user_script:{line}.");
        assert_eq!(eval(&mut talk, script), Reply::Error(told), "{script}");
    }
    let told = "ERR Error compiling script (new function): user_script:1: unexpected symbol near ')'";
    assert_eq!(eval(&mut talk, "return )"), Reply::error(told));
}

#[test]
fn errors_can_be_caught() {
    let mut talk = Talk::new();
    for (script, caught) in [
        ("local ok, e = pcall(redis.call, 'NOPE') return e", "ERR Unknown Redis command called from script"),
        (
            "local ok, e = xpcall(function() redis.call('NOPE') end, function(e) return e.err end) return e",
            "ERR Unknown Redis command called from script",
        ),
        ("local ok, e = pcall(error, {err = 'x'}) return e", "x"),
        ("local ok, e = pcall(function() error('x', 0) end) return e", "x"),
    ] {
        assert_eq!(eval(&mut talk, script), Reply::bulk(caught), "{script}");
    }
}

#[test]
fn what_was_written_before_an_error_stays() {
    let mut talk = Talk::new();
    assert!(matches!(eval(&mut talk, "redis.call('SET', 'k', 'v') redis.call('NOPE')"), Reply::Error(_)));
    assert_eq!(talk.redis.command(["GET", "k"]), Reply::bulk("v"));
}

#[test]
fn a_script_is_known_by_its_hash_until_it_is_forgotten() {
    let mut talk = Talk::new();
    let a = talk.connect();
    let hash = lua::hash(b"return KEYS[1] .. ARGV[1]");
    let call = format!("EVALSHA {hash} 1 k v");
    assert_eq!(talk.ask(a, &call), "-NOSCRIPT No matching script. Please use EVAL.|");
    assert_eq!(talk.ask(a, r#"EVAL "return KEYS[1] .. ARGV[1]" 1 k v"#), "$2|kv|");
    assert_eq!(talk.ask(a, &call.to_uppercase().replace("1 K V", "1 k v")), "$2|kv|");
    talk.inject(RedisFault::ForgetScripts);
    assert_eq!(talk.ask(a, &call), "-NOSCRIPT No matching script. Please use EVAL.|");
    assert_eq!(talk.ask(a, &format!("SCRIPT EXISTS {hash}")), "*1|:0|");
}

#[test]
fn chance_in_scripts_is_the_servers() {
    let numbers = || {
        let mut talk = Talk::new();
        [0, 1].map(|_| eval(&mut talk, "return tostring(math.random()) .. math.random(10)"))
    };
    assert_eq!(numbers(), numbers());
    assert_ne!(numbers()[0], numbers()[1]);
}

#[test]
fn the_scripts_of_streamkeeper_compile_and_are_told_of_by_name() {
    let mut talk = Talk::new();
    talk.redis.observe();
    for (name, body) in streamkeeper::scripts() {
        let loaded = talk.redis.command([bytes("SCRIPT"), bytes("LOAD"), bytes(body)]);
        assert_eq!(loaded, Reply::bulk(lua::hash(body.as_bytes())), "{name}");
    }
    let (_, look) = streamkeeper::scripts().find(|(name, _)| *name == "look").unwrap();
    talk.redis.command(["XGROUP", "CREATE", "svc-input", "svc-group", "0", "MKSTREAM"]);
    let a = talk.connect();
    let hash = lua::hash(look.as_bytes());
    assert_eq!(talk.ask(a, &format!("EVALSHA {hash} 1 svc-input svc-group me 1000")), "*3|:0|:1|:0|");
    let executed = talk.executed.pop().unwrap();
    assert_eq!((executed.conn, executed.script), (a, Some("look")));
    assert_eq!(executed.reply, Reply::Array(vec![Reply::Int(0), Reply::Int(1), Reply::Int(0)]));
}

#[test]
fn servers_of_two_versions_share_an_engine() {
    let (mut new, mut old) = (Talk::new(), Talk::new());
    old.redis.play(Version::Redis6);
    let about = "return {tostring(redis.REDIS_VERSION_NUM), type(redis.acl_check_cmd), redis.pcall('NOPE').err}";
    let said = |words: [&str; 3]| Reply::Array(words.map(|word| Reply::bulk(word.to_owned())).to_vec());
    for _ in 0..2 {
        let is = said(["458767", "function", "ERR Unknown Redis command called from script"]);
        assert_eq!(eval(&mut new, about), is);
        let was = said(["nil", "nil", "@user_script: 1: Unknown Redis command called from Lua script"]);
        assert_eq!(eval(&mut old, about), was);
    }
}

#[test]
fn json_is_read() {
    let mut talk = Talk::new();
    let said = r#"local v = cjson.decode([[{"a":[1.5,null,{"b":true}],"c":"\u00e9"}]])
        return {tostring(v.a[1]), tostring(v.a[2] == cjson.null), tostring(v.a[3].b), v.c}"#;
    assert_eq!(eval(&mut talk, said), Reply::Array(["1.5", "true", "true", "é"].map(Reply::bulk).to_vec()));
    let refused = r#"local ok, why = pcall(cjson.decode, '{"a":') return {tostring(ok), type(why)}"#;
    assert_eq!(eval(&mut talk, refused), Reply::Array(["false", "string"].map(Reply::bulk).to_vec()));
}
