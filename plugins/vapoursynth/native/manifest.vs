[VapourSynth Manifest V1]
lkdn
