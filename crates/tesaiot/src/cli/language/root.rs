//! ภาษาไทย: the program itself.

use super::thai::Page;

pub(super) const PAGES: &[Page] = &[
    Page {
        path: &[], about: "IoT ที่ปลอดภัยในโปรแกรมเดียว: ทั้งอุปกรณ์และแพลตฟอร์ม", arguments: &[], end: Some(END)
    },
    #[cfg(feature = "completions")]
    Page {
        path: &["completions"],
        about: "แสดงสิ่งที่ shell ใช้เติมคำสั่ง ตัวเลือก และค่า",
        arguments: &[("shell", "shell ที่ใช้")],
        end: None,
    },
];

#[cfg(feature = "platform")]
const END: &str = "\
ตัวอย่าง:
  tesaiot demo --for 30s                  ดูทุกอย่างทำงานจริง
  tesaiot up                              เปิดแพลตฟอร์มบนเครื่องนี้
  tesaiot device add pump-7               ลงทะเบียนอุปกรณ์ ข้อมูลรับรองอยู่ใน ./pump-7
  tesaiot publish --certs-dir ./pump-7    ส่งข้อมูลหนึ่งครั้งในนามอุปกรณ์นั้น
  tesaiot doctor --certs-dir ./pump-7     ตรวจว่าอะไรใช้ได้ อะไรใช้ไม่ได้
  tesaiot telemetry get pump-7            ดูข้อมูลที่เก็บไว้

ทุกคำสั่งมี --help พร้อมตัวอย่างและรหัสเมื่อจบการทำงาน (exit code)
ข้อมูลออกทาง stdout ข้อความอื่นทั้งหมดออกทาง stderr
NO_COLOR ปิดตัวอักษรเน้น  RUST_LOG (ค่าเริ่มต้น: info) กำหนดว่าแพลตฟอร์มบันทึก log มากน้อยเพียงใด
--lang en หรือ LANG=C แสดงวิธีใช้เป็นภาษาอังกฤษ";

#[cfg(not(feature = "platform"))]
const END: &str = "\
ตัวอย่าง:
  tesaiot publish --certs-dir ./pump-7
  tesaiot doctor --certs-dir ./pump-7
  tesaiot agent --certs-dir ./pi-kitchen --sensor environment

ทุกคำสั่งมี --help พร้อมตัวอย่างและรหัสเมื่อจบการทำงาน (exit code)
ข้อมูลออกทาง stdout ข้อความอื่นทั้งหมดออกทาง stderr
NO_COLOR ปิดตัวอักษรเน้น
--lang en หรือ LANG=C แสดงวิธีใช้เป็นภาษาอังกฤษ";
