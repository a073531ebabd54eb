# What Varnish fills from: an origin's delivery listener (7002), or an edge
# (8080). Several parents: name them all, `import directors;`, and in vcl_init
# make `new parents = directors.fallback()` of them; then set bereq.backend in
# headwater.vcl's vcl_backend_fetch.

probe clock {
    .url = "/time";
    .interval = 2s;
    .timeout = 1s;
    .window = 4;
    .threshold = 2;
    .initial = 2;
}

backend parent {
    .host = "127.0.0.1";
    .port = "7002";
    .connect_timeout = 1s;
    # Longer than any request is held: 25 s for event.json, and for segments the
    # event's hold window, budget and lateness.
    .first_byte_timeout = 60s;
    .between_bytes_timeout = 10s;
    .probe = clock;
}
