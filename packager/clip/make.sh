#!/usr/bin/env bash
# Makes the built-in clip: a.mp4, b.mp4 and black key frames (black-*.h264), an eight-second loop as two redundant
# encoding pipelines would make it. Needs ffmpeg (5.1 or later) with libx264,
# and the DejaVu fonts. Takes a few minutes; the output is committed.
#
#   packager/clip/make.sh [OUTPUT-DIR]
#
# Eight seconds, because 8 s are 240 frames of 30 fps, four closed GOPs of 2 s
# and exactly 375 AAC frames of 1,024 samples at 48 kHz: every track repeats
# without a seam. a and b differ by the badge alone. All that moves has a
# period that divides the loop.
set -euo pipefail

out=$(cd "${1:-$(dirname "$0")}" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
font=/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf
mono=/usr/share/fonts/truetype/dejavu/DejaVuSansMono-Bold.ttf
ff() { ffmpeg -nostdin -hide_banner -loglevel error -y "$@"; }
still() { # NAME SIZE R G B A: one picture from four expressions of X and Y
	ff -f lavfi -i "color=black:s=$2:r=30,format=rgba,geq=r='$3':g='$4':b='$5':a='$6'" -frames:v 1 "$tmp/$1.png"
}

echo "1/5 still layers"
# The sky at dusk, with the sun and its glow.
glow='exp(-hypot(X-930,Y-186)/170)'
sun="clip(46-hypot(X-930,Y-186),0,1)"
still sky 1280x720 \
	"clip(24+196*pow(Y/450,1.5)+90*$glow,0,255)*(1-$sun)+255*$sun" \
	"clip(38+112*pow(Y/450,1.8)+70*$glow,0,255)*(1-$sun)+226*$sun" \
	"clip(92+28*(Y/450)-20*pow(Y/450,4)+10*$glow,0,255)*(1-$sun)+150*$sun" 255
# Far mountains stand still; their lit side faces the sun.
far='(352-70*abs(sin(X/208+0.4))-34*abs(sin(X/83+1))-11*abs(sin(X/31)))'
still far 1280x720 "96+0.16*(Y-240)" "74+0.13*(Y-240)" "118+0.05*(Y-240)" "255*clip(Y-$far,0,1)*clip(440-Y,0,1)"
# Hills: one wave pattern 720 wide, one 1440 wide, so that they scroll 3 and 6 pixels a frame.
mid='(384-26*sin(2*PI*X/720)-13*sin(2*PI*X*3/720+1)-5*sin(2*PI*X*8/720+2))'
still mid 1440x720 "58+0.10*(Y-340)" "52+0.14*(Y-340)" "88" "255*clip(Y-$mid,0,1)*clip(440-Y,0,1)"
trees='(9*abs(sin(2*PI*X*31/1440))+7*abs(sin(2*PI*X*53/1440+1)))'
near="(418-22*sin(2*PI*X/1440+3)-12*sin(2*PI*X*3/1440)-$trees)"
still near 1440x720 24 34 54 "255*clip(Y-$near,0,1)*clip(440-Y,0,1)"
# A boat: a hull and two sails.
hull='clip(Y-128,0,1)*clip(156-Y,0,1)*clip(X-20-(Y-128)*0.9,0,1)*clip(186-(Y-128)*0.9-X,0,1)'
sail='clip(118-Y,0,1)*clip(X-(104-(Y-6)*0.62),0,1)*clip(104-X,0,1)'
jib='clip(118-Y,0,1)*clip(X-110,0,1)*clip(110+(Y-30)*0.66-X,0,1)'
mast='clip(X-105,0,1)*clip(109-X,0,1)*clip(Y-2,0,1)*clip(130-Y,0,1)'
still boat 200x160 "246*clip($sail+$jib,0,1)+70*$hull+60*$mast" "236*clip($sail+$jib,0,1)+34*$hull+40*$mast" \
	"222*clip($sail+$jib,0,1)+38*$hull+36*$mast" "255*clip($hull+$sail+$jib+$mast,0,1)"
# The panel behind the counter.
still panel 560x84 12 18 34 "168*clip(24-hypot(max(abs(X-279.5)-255.5,0),max(abs(Y-41.5)-17.5,0)),0,1)"

echo "2/5 the moving picture"
turn='2*PI*N/240'
dial() { # an expression of the distance from the hand that points at N/240 of a turn
	echo "hypot((X-90)-clip((X-90)*sin($turn)-(Y-90)*cos($turn),0,66)*sin($turn),(Y-90)+clip((X-90)*sin($turn)-(Y-90)*cos($turn),0,66)*cos($turn))"
}
hand="clip(5-$(dial),0,1)"
ring="clip(5-abs(hypot(X-90,Y-90)-80),0,1)"
# One mark a second.
marks="clip(6-abs(hypot(X-90,Y-90)-66),0,1)*gt(cos(8*atan2(X-90,90-Y)),0.9)"
lit="clip($hand+$ring+$marks,0,1)"
hold='loop=loop=-1:size=1'
scroll() { # PIXELS a frame; the half pixel keeps rounding from ever losing one
	awk -v p="$1" 'BEGIN { printf "scroll=h=%.10f:hpos=%.10f", p / 1440, 0.5 / 1440 }'
}
wave="sin(2*PI*(X/190+sin(Y/17)*0.6+N/120))+sin(2*PI*(X/83-Y/29-N/80))"
ff \
	-framerate 30 -i "$tmp/sky.png" -framerate 30 -i "$tmp/far.png" -framerate 30 -i "$tmp/mid.png" \
	-framerate 30 -i "$tmp/near.png" -framerate 30 -i "$tmp/boat.png" -framerate 30 -i "$tmp/panel.png" \
	-f lavfi -i "color=black:s=180x180:r=30,format=rgba,geq=r='12*(1-$lit)+255*$lit':g='18*(1-$lit)+255*$lit':b='34*(1-$lit)+255*$lit':a='clip(168*clip(88-hypot(X-90,Y-90),0,1)+255*$lit,0,255)'" \
	-f lavfi -i "color=gray:s=1280x290:r=30,format=gray,geq=lum='128+(2+Y/24)*($wave)'" \
	-f lavfi -i "color=gray:s=1280x290:r=30,format=gray,geq=lum='128+(1+Y/40)*sin(2*PI*(3200/(Y+60)+N/60)+X/240)'" \
	-f lavfi -i "color=0xfbbf24:s=500x8:r=30,format=rgba" \
	-filter_complex "
	[0]$hold[sky];[1]$hold[far];[4]$hold[boat];[5]$hold[panel];
	[2]$hold,$(scroll 3)[mid];
	[3]$hold,$(scroll 6)[near];
	[sky][far]overlay=format=rgb[l1];[l1][mid]overlay=format=rgb[l2];[l2][near]overlay=format=rgb,split[land][up];
	[up]crop=1280:290:0:140,vflip,colorchannelmixer=rr=0.66:gg=0.72:bb=0.86,format=gbrp[mirror];
	[7]format=gbrp[xm];[8]format=gbrp[ym];
	[mirror][xm][ym]displace=edge=mirror,format=rgba[water];
	[land][water]overlay=0:430:format=rgb[scene];
	[scene][boat]overlay=x=250:y='388+7*sin(2*PI*n/120)':format=rgb[sailing];
	[sailing][6]overlay=1060:40:format=rgb[clock];
	[clock][panel]overlay=360:608:format=rgb[p];
	[9]crop=500:8[bar];
	[p]drawbox=x=390:y=670:w=500:h=8:color=white@0.25:t=fill,drawtext=fontfile=$mono:fontsize=34:fontcolor=white:x=392:y=624:text='%{eif\:n/30\:d}.%{eif\:mod(n,30)*1000/30\:d\:3} s  frame %{eif\:n\:d\:3}/240'[t];
	color=black@0:s=500x8:r=30,format=rgba[strip];
	[strip][bar]overlay=x='-500+500*(n+1)/240':format=rgb[filled];
	[t][filled]overlay=390:670:format=rgb,format=yuv444p" \
	-frames:v 240 -c:v libx264 -qp 0 -preset ultrafast "$tmp/master.mkv"

echo "3/5 sound"
# Sixteen soft notes a loop; each rings on past the end of the loop into its beginning.
score=(220 277.18 329.63 440 369.99 440 554.37 440 293.66 369.99 440 587.33 329.63 415.30 493.88 659.26)
sum=0
for i in "${!score[@]}"; do
	at="mod(t+8-$i*0.5\\,8)"
	sum+="+exp(-2.2*$at)*(1-exp(-90*$at))*(sin(2*PI*${score[$i]}*$at)+0.35*sin(4*PI*${score[$i]}*$at)+0.12*sin(6*PI*${score[$i]}*$at))"
done
# The bass marks the GOPs: a long note each two seconds.
bass=(110 92.50 73.42 82.41)
for i in "${!bass[@]}"; do
	at="mod(t+8-$i*2\\,8)"
	sum+="+0.8*exp(-0.9*$at)*(1-exp(-30*$at))*sin(2*PI*${bass[$i]}*$at)"
done
# Three loops are encoded and the middle one is kept, so that the decoder's
# overlap runs on from the last frame into the first. The encoder delays by one
# frame: packet k holds the samples of frame k-1.
ff -f lavfi -i "aevalsrc=exprs='0.16*($sum)|0.16*($sum)':s=48000:d=25" -c:a aac -b:a 96k -aac_pns 0 "$tmp/sound.mp4"
ff -i "$tmp/sound.mp4" -c copy -bsf:a "noise=drop='lt(n,376)+gt(n,750)',setts=ts=(N)*1024" -f nut "$tmp/loop.nut"

badge() { # NAME R G B: the moving picture with the mark of the pipeline
	still "badge-$1" 170x170 "$2" "$3" "$4" "255*clip(34-hypot(max(abs(X-84.5)-50.5,0),max(abs(Y-84.5)-50.5,0)),0,1)"
	ff -i "$tmp/master.mkv" -i "$tmp/badge-$1.png" -filter_complex "
		[1]drawtext=fontfile=$font:fontsize=132:fontcolor=white:text=${1^^}:x=(w-tw)/2:y=(h-th)/2[badge];
		[0][badge]overlay=44:44:format=yuv444" -c:v libx264 -qp 0 -preset ultrafast -pix_fmt yuv444p "$tmp/$1.mkv"
}

version() { # NAME: the ladder, in one fragmented file
	local name=$1
	rung "$name" 2 1280 720 1180k 3.1
	rung "$name" 2 640 360 400k 3.0
	rung "$name" 2 320 180 140k 1.3
	# One moof per track and GOP; -flags +bitexact keeps dates and versions out.
	ff -r 30 -i "$tmp/$name-720.264" -r 30 -i "$tmp/$name-360.264" -r 30 -i "$tmp/$name-180.264" -i "$tmp/loop.nut" \
		-map 0 -map 1 -map 2 -map 3 -c copy -metadata:s:a:0 language=eng \
		-fflags +bitexact -flags +bitexact -video_track_timescale 30000 -use_editlist 0 \
		-f mp4 -movflags +frag_keyframe+empty_moov+default_base_moof+separate_moof+skip_trailer "$out/$name.mp4"
}

# Both versions take their second pass from the first pass of a. The frames are
# as good as the same, and x264 writes what it learnt there into the parameter
# sets: so the init segments of a and b are the same bytes, as those of
# redundant encoders must be.
rung() { # NAME PASS WIDTH HEIGHT BITRATE LEVEL
	ff -i "$tmp/$1.mkv" -vf "scale=$3:$4:flags=lanczos,format=yuv420p" -r 30 -threads 1 \
		-c:v libx264 -profile:v high -level:v "$6" -refs 4 -preset veryslow -bf 0 \
		-b:v "$5" -maxrate "$5" -bufsize "$((${5%k} * 2))k" \
		-g 60 -keyint_min 60 -sc_threshold 0 -x264-params open-gop=0 -bsf:v 'filter_units=remove_types=6' \
		-pass "$2" -passlogfile "$tmp/pass-$4" -flags +bitexact -f h264 "$tmp/$1-$4.264"
}

echo "4/5 version a"
badge a 13 148 136
rung a 1 1280 720 1180k 3.1
rung a 1 640 360 400k 3.0
rung a 1 320 180 140k 1.3
version a
echo "5/5 version b"
badge b 234 88 12
version b
# A key frame of black, by the second pass of the same encoder: so it fits the same
# parameter sets. What is left of it is the picture alone, with its length before it.
black() { # WIDTH HEIGHT BITRATE LEVEL
	ff -f lavfi -i "color=black:s=$1x$2:r=30,format=yuv420p" -frames:v 60 -c:v libx264 -qp 0 -preset ultrafast "$tmp/black.mkv"
	rung black 2 "$1" "$2" "$3" "$4"
	ff -i "$tmp/black-$2.264" -frames:v 1 -c copy -bsf:v 'filter_units=pass_types=5' -f h264 "$tmp/black-$2.one"
	python3 -c 'import sys; b = sys.stdin.buffer.read().lstrip(b"\0")[1:]; sys.stdout.buffer.write(len(b).to_bytes(4, "big") + b)' \
		<"$tmp/black-$2.one" >"$out/black-$2.h264"
}
black 1280 720 1180k 3.1
black 640 360 400k 3.0
black 320 180 140k 1.3
init() { # FILE: what comes before the first moof
	head -c "$(($(grep -abo -m1 moof "$1" | head -1 | cut -d: -f1) - 4))" "$1"
}
if ! cmp -s <(init "$out/a.mp4") <(init "$out/b.mp4"); then
	echo "make.sh: the init segments of a and b differ" >&2
	exit 1
fi
ls -l "$out"/a.mp4 "$out"/b.mp4
