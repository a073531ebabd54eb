#!/bin/sh
# Makes the media fixtures beside this script with ffmpeg. They are small and
# kept, so that tests need no ffmpeg. To change one run this again, and then
# go test -run TestSeeds -update .
set -eu
cd "$(dirname "$0")"
T=1795405280 # a multiple of 2 s, in Unix time
FF="ffmpeg -hide_banner -loglevel error -y"
LIVE="+frag_keyframe+empty_moov+default_base_moof+separate_moof+frag_discont+skip_trailer"
AT="-output_ts_offset $T -use_editlist 0 -avoid_negative_ts disabled"
SINE="-f lavfi -i sine=frequency=440:sample_rate=48000"
picture() { echo "-f lavfi -i testsrc2=size=${2:-64x36}:rate=$1"; }

# Two video renditions and audio in one pipe, 3 segments of 2 s.
$FF $(picture 30) $SINE -filter_complex "[0:v]split=2[a][b];[b]scale=48x26[c]" \
  -map "[a]" -map "[c]" -map 1:a -t 6 -c:v libx264 -preset veryfast -tune zerolatency -bf 0 \
  -force_key_frames 'expr:gte(t,n_forced*2)' -b:v:0 40k -b:v:1 20k -c:a aac -ac 1 -b:a 16k $AT \
  -metadata:s:a:0 language=deu -f mp4 -movflags $LIVE avc-aac.mp4

# 29.97 fps and 44.1 kHz, 3 segments of 60 frames.
$FF $(picture 30000/1001) -f lavfi -i sine=sample_rate=44100 -frames:v 180 -t 6.006 -g 60 \
  -c:v libx264 -preset veryfast -tune zerolatency -bf 0 -sc_threshold 0 -b:v 40k -c:a aac -ac 1 -b:a 16k $AT \
  -video_track_timescale 30000 -f mp4 -movflags $LIVE ntsc.mp4

# Frames in another order than their times: decode time begins before the
# boundary (reordered), or on it and presentation is shifted by an edit list
# or by negative composition offsets.
for how in reordered edited negative; do
  case $how in
  reordered) opt="$AT -movflags $LIVE" ;;
  edited) opt="-movflags +frag_keyframe+delay_moov+default_base_moof" ;;
  negative) opt="-use_editlist 0 -avoid_negative_ts disabled -movflags +negative_cts_offsets$LIVE" ;;
  esac
  $FF $(picture 25) -t 4 -c:v libx264 -preset veryfast -bf 2 -g 50 -sc_threshold 0 -b:v 40k $opt -f mp4 $how.mp4
done

# Other codecs, one second each.
$FF $(picture 25) -t 1 -c:v libx265 -x265-params log-level=none:keyint=25 -preset ultrafast -b:v 40k -tag:v hvc1 \
  $AT -f mp4 -movflags $LIVE hevc.mp4
SVT_LOG=1 $FF $(picture 25 64x64) -t 1 -c:v libsvtav1 -preset 12 -g 25 -b:v 40k $AT -f mp4 -movflags $LIVE av1.mp4
$FF $(picture 25) -t 1 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25 -b:v 40k $AT -f mp4 -movflags $LIVE vp9.mp4
$FF $SINE -map 0 -map 0 -map 0 -map 0 -t 0.5 -strict -2 -c:a:0 libopus -b:a:0 16k -c:a:1 flac -ac:a:1 1 -c:a:2 ac3 -ac:a:2 6 \
  -b:a:2 96k -c:a:3 eac3 -ac:a:3 6 -b:a:3 96k $AT -frag_duration 500000 \
  -f mp4 -movflags +delay_moov+default_base_moof+separate_moof+frag_discont+skip_trailer audio.mp4

# Common encryption, video with subsamples.
$FF $(picture 30) $SINE -map 0 -map 1 -t 4 -c:v libx264 -preset veryfast -tune zerolatency -bf 0 -g 60 -sc_threshold 0 \
  -b:v 40k -c:a aac -ac 1 -b:a 16k $AT -encryption_scheme cenc-aes-ctr \
  -encryption_key 00112233445566778899aabbccddeeff -encryption_kid 0123456789abcdef0123456789abcdef \
  -f mp4 -movflags $LIVE cenc.mp4

# ffmpeg's own DASH segments (self-made names, times from 0), 2 of video.
$FF $(picture 30) -t 4 -c:v libx264 -preset veryfast -bf 0 -g 60 -sc_threshold 0 -b:v 40k \
  -f dash -seg_duration 2 -use_template 1 -use_timeline 0 \
  -init_seg_name 'dash-init.mp4' -media_seg_name 'dash-$Number$.m4s' dash.mpd
rm dash.mpd

# What is no CMAF: progressive, with samples in the movie box, and others.
$FF $(picture 25) -t 0.2 -c:v libx264 -b:v 40k -movflags +faststart progressive.mp4
$FF $(picture 25) -t 2 -c:v libx264 -g 25 -b:v 40k -movflags +frag_keyframe hybrid.mp4
$FF $(picture 25) -t 0.2 -c:v libx264 -b:v 40k stream.ts
$FF $(picture 25) -t 0.2 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 40k stream.webm
