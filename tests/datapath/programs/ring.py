"""A submission queue of io_uring for one connect, by the kernel's own system calls (include/uapi/linux/io_uring.h)."""

import ctypes
import mmap
import os
import struct

SETUP, ENTER = 425, 426  # __NR_io_uring_setup, __NR_io_uring_enter, the same on all architectures
OFF_SQ_RING, OFF_SQES = 0, 0x10000000
SETUP_SQPOLL, ENTER_GETEVENTS, ENTER_SQ_WAKEUP = 2, 1, 2
CONNECT, ASYNC = 16, 1 << 4  # IORING_OP_CONNECT, IOSQE_ASYNC
PARAMS, SQE, CQE = 120, 64, 16
U32 = struct.Struct("=I")
LIBC = ctypes.CDLL(None, use_errno=True)


def _call(number, *arguments):
    """A system call. An error is the machine's and not the connect's, so that it is no OSError."""
    result = LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
    if result < 0:
        raise RuntimeError(f"io_uring, system call {number}: {os.strerror(ctypes.get_errno())}")
    return result


def connect(descriptor, name, *, setup=0, flags=0):
    """Connect a socket to a sockaddr. Raises OSError with the result that the completion queue has."""
    params = bytearray(PARAMS)
    struct.pack_into("=I", params, 8, setup)
    ring = _call(SETUP, 4, ctypes.addressof(ctypes.c_char.from_buffer(params)))
    try:
        # Both rings share one mapping (IORING_FEAT_SINGLE_MMAP, kernel 5.4).
        submission, completion = (struct.unpack_from("=10I", params, offset) for offset in (40, 80))
        size = max(submission[6] + 4 * 4, completion[5] + CQE * 8)
        with mmap.mmap(ring, size, offset=OFF_SQ_RING) as queues, mmap.mmap(ring, 4 * SQE, offset=OFF_SQES) as entries:
            held = ctypes.create_string_buffer(name, len(name))
            entry = struct.pack("=BBHiQQI", CONNECT, flags, 0, descriptor, len(name), ctypes.addressof(held), 0)
            entries[: len(entry)] = entry
            U32.pack_into(queues, submission[6], 0)  # array[0] names entry 0
            U32.pack_into(queues, submission[1], 1)  # tail
            _call(ENTER, ring, 1, 1, ENTER_GETEVENTS | (ENTER_SQ_WAKEUP if setup & SETUP_SQPOLL else 0), 0, 0)
            (result,) = struct.unpack_from("=i", queues, completion[5] + 8)
            if result < 0:
                raise OSError(-result, os.strerror(-result))
    finally:
        os.close(ring)
