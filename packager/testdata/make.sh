#!/usr/bin/env bash
# Makes the fixtures of the packager's tests with ffmpeg 5.1: a few seconds of
# very small pictures, as encoders write them to a pipe. They are committed, so
# that the tests need no ffmpeg.
set -euo pipefail
cd "$(dirname "$0")"

# 2026-11-23T00:00:00Z, a multiple of 2 s.
T=1795392000
ff() { ffmpeg -nostdin -hide_banner -loglevel error -y "$@"; }
frag=+frag_keyframe+empty_moov+default_base_moof+separate_moof+skip_trailer
gop=(-force_key_frames 'expr:gte(t,n_forced*2)')
picture() { echo -f lavfi -i "testsrc2=size=48x32:rate=$1"; }
sound() { echo -f lavfi -i "sine=frequency=440:sample_rate=$1"; }
x264=(-c:v libx264 -preset ultrafast -tune zerolatency -bf 0 -threads 1)
aac=(-c:a aac -b:a 12k -ac 1)
absolute=(-output_ts_offset "$T" -use_editlist 0 -avoid_negative_ts disabled)

# ladder: two sizes and sound in one pipe, decode times absolute.
ff $(picture 30) $(sound 48000) -t 7 \
	-filter_complex "[0:v]split=2[a][b];[b]scale=32:16[c]" -map "[a]" -map "[c]" -map 1:a \
	"${x264[@]}" "${gop[@]}" "${aac[@]}" "${absolute[@]}" -f mp4 -movflags $frag+frag_discont ladder.mp4
# later: the same from four seconds on, as an encoder that was started again.
ff $(picture 30) $(sound 48000) -t 5 \
	-filter_complex "[0:v]split=2[a][b];[b]scale=32:16[c]" -map "[a]" -map "[c]" -map 1:a \
	"${x264[@]}" "${gop[@]}" "${aac[@]}" -output_ts_offset $((T + 8)) -use_editlist 0 -avoid_negative_ts disabled \
	-f mp4 -movflags $frag+frag_discont later.mp4
# prft: decode times from 0, producer reference times absolute.
ff $(picture 30) -t 5 "${x264[@]}" "${gop[@]}" "${absolute[@]}" -write_prft pts -f mp4 -movflags $frag prft.mp4
# ntsc: 29.97 frames a second and 44.1 kHz, segments of 2.002 s from T on.
ff $(picture 30000/1001) $(sound 44100) -t 7 "${x264[@]}" -g 60 -keyint_min 60 -sc_threshold 0 "${aac[@]}" "${absolute[@]}" \
	-f mp4 -movflags $frag+frag_discont ntsc.mp4
# reordered: B frames, so that key frames decode before they are shown.
ff $(picture 25) -t 5 -c:v libx264 -preset ultrafast -bf 2 -threads 1 -x264-params open-gop=0 "${gop[@]}" "${absolute[@]}" \
	-f mp4 -movflags $frag+frag_discont reordered.mp4
# zero: decode times from 0 and no prft: nothing says what time it is.
ff $(picture 30) -t 3 "${x264[@]}" "${gop[@]}" -f mp4 -movflags $frag zero.mp4
ls -l ./*.mp4
