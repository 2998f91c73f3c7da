"""Phones over ADB: four ways in, one kind of phone.

Source: the protocol documents of AOSP's packages/modules/adb (protocol.txt, SYNC.TXT,
SERVICES.TXT, shell_protocol.h).
"""

from device_farm.adb.phone import AdbPhone
from device_farm.adb.server import AdbServer, ServerRoute
from device_farm.adb.tcp import TcpRoute
from device_farm.adb.usb import UsbRoute

__all__ = ["AdbPhone", "AdbServer", "ServerRoute", "TcpRoute", "UsbRoute"]
