local test = lunette.test

test.describe("volume-local", function()
  local directory = fs.temporary()
  local driver = test.load("volume-local").volume["local"]

  local function request(fields)
    return lunette.merge({
      operation = "test",
      volumes_directory = directory,
      volume = { id = "0123456789abcdef", name = "data", options = {}, labels = {} },
    }, fields or {})
  end

  test.it("makes a folder named by the volume's id, once", function()
    local first = driver.mount(request())
    local again = driver.mount(request())
    test.expect(first.path).to_equal(directory .. "/0123456789abcdef")
    test.expect(again.path).to_equal(first.path)
  end)

  test.it("counts what is in it", function()
    local path = driver.mount(request()).path
    fs.write(path .. "/file", ("x"):rep(5000))
    local usage = driver.usage(request())
    test.expect(usage.used >= 5000).to_equal(true)
    test.expect(usage.enforced).to_equal(false)
  end)

  test.it("removes it, and removing what is absent succeeds", function()
    driver.remove(request())
    driver.remove(request())
    test.expect(driver.check(request())).to_equal(false)
  end)

  test.it("names an unknown option", function()
    local ok, err = lunette.try(driver.create, request { volume = { id = "x", name = "data", options = { moed = "0700" } } })
    test.expect(ok).to_equal(false)
    test.expect(err.code).to_equal("invalid_argument")
  end)
end)
