"""The contract of a method, the CLIP below it, and ST-CLIP. Tensors in, tensors out; no I/O.

The shape letters of all methods, `baselines` too. A module with letters of its own lists only
those.

    S  samples of a batch: key frames, clips or persons' tracks
    V  views of a sample; SV is the product S * V
    C  clips that go through an encoder together: views of samples, all or some
    T  frames of a window, a clip or a view
    M  frames of a memory, around the key frame
    U  distinct pictures
    B  person boxes of a batch
    P  persons of a frame
    O  objects of a batch
    R  rows of logits, of a box or a sample each
    K  labels
    N  patches of a picture
    n  tokens of a sequence
    d  width of the image tower
    e  width of the joint embedding
    w  width of the text tower
    h  attention heads
    H, W    height and width of a picture at the backbone's size, in pixels
    gy, gx  patches of a picture along y and x; N = gy * gx
    *any    any axes

"""
