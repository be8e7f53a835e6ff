# Reads the machines from inventories/vagrant.yml, and runs `provisioner up` on those that exist.

require "ipaddr"
require "rbconfig"
require "yaml"

module Lab
  CHECKOUT = File.expand_path("..", __dir__)
  INVENTORY = File.join(CHECKOUT, "inventories/vagrant.yml")
  WRITTEN = File.join(__dir__, "lab.yml")
  KEY = "x-vagrant".freeze
  DEFAULTS = { "machines" => 3, "box" => "debian/bullseye64", "memory" => 1024, "cpus" => 1 }.freeze

  Machine = Struct.new(:name, :address, :memory, :cpus, :autostart)

  @lock = Mutex.new # libvirt's machines start in parallel
  @asked = false

  class << self
    def box
      settings.fetch("box")
    end

    # All hosts of the inventory; the first `machines` of them start by default. No others are invented: Vagrant would forget
    # them when the number is lowered, and `vagrant destroy` would leave them running.
    def machines
      check_number
      inventory.fetch("hosts").each_with_index.map do |(name, host), index|
        size = settings.merge(host.fetch(KEY, {}))
        Machine.new(name, checked(name, host.fetch("address")), size["memory"], size["cpus"], index < settings["machines"])
      end
    end

    # A recreated machine has a new SSH host key, so the recorded one is obsolete.
    def forget_key(address)
      file = inventory.dig("ssh", "known_hosts") or return
      file = File.expand_path(file, File.dirname(INVENTORY))
      @lock.synchronize do
        next unless File.exist?(file)
        lines = File.readlines(file)
        File.write(file, lines.reject { |line| line.start_with?("#{address} ") }.join)
      end
    end

    # Runs once for all machines, after the last one. Counting them does not work: Vagrant calls this for one machine after
    # the other or for several at once, and its arguments may be names, patterns or IDs. So it runs when Vagrant exits,
    # and only if Vagrant succeeded.
    def up_when_all_are_there(env)
      @lock.synchronize do
        at_exit { finish(env) if $!.nil? || ($!.is_a?(SystemExit) && $!.success?) } unless @asked
        @asked = true
      end
    end

    private

    def inventory
      @inventory ||= YAML.safe_load(File.read(INVENTORY), aliases: true)
    end

    def settings
      @settings ||= DEFAULTS.merge(inventory.fetch(KEY, {}))
    end

    def check_number
      number, hosts = settings["machines"], inventory.fetch("hosts")
      unless number.is_a?(Integer) && number.positive?
        abort "#{INVENTORY}: `machines` must be a whole number of at least 1, not #{number.inspect}"
      end
      return if number <= hosts.size
      last, host = hosts.to_a.last
      another = "#{last.sub(/\d+\z/, "")}#{last[/\d+\z/].to_i + 1}: {address: #{IPAddr.new(checked(last, host.fetch("address"))).succ}}"
      abort "#{INVENTORY}: `machines` is #{number}, but `hosts` has only #{hosts.size}: add #{number - hosts.size} more lines there, " \
            "such as `#{another}`"
    end

    def checked(name, address)
      IPAddr.new(address) && address
    rescue IPAddr::Error
      abort "#{INVENTORY}: the address of #{name} must be an IPv4 address, because Vagrant assigns it to the machine"
    end

    def finish(env)
      write(env)
      return if ARGV.include?("--no-provision")
      program = provisioner or abort not_found
      puts "==> provisioner up #{WRITTEN}"
      $stdout.flush
      # Other programs must not use Vagrant's own libraries.
      Vagrant::Util::Env.with_original_env { system(program, "up", "--yes", WRITTEN) }
      return if $?.success?
      abort "==> The machines exist, but `provisioner up` ended with exit code #{$?.exitstatus}: see above.\n" \
            "    Fix the reported problem, then run `vagrant up` again."
    end

    # Write the inventory with the machines that exist, including halted ones. Only YAML nodes are removed, so the rest stays
    # unchanged, including `!env` and the like.
    def write(env)
      made = env.active_machines.map { |name, _| name.to_s }
      stream = YAML.parse_stream(File.read(INVENTORY))
      top = pairs(stream.children.first.root)
      hosts = top.fetch("hosts")
      hosts.children.replace(hosts.children.each_slice(2).select { |key, _| made.include?(key.value) }.flatten)
      key = top["ssh"] && pairs(top["ssh"])["key"]
      key.value = key.value.sub(%r{\A~/\.vagrant\.d(?=/)}, env.home_path.to_s) if key && ENV["VAGRANT_HOME"]
      File.write(WRITTEN, "# Written by `vagrant up` from ../inventories/vagrant.yml: the machines that exist.\n" + stream.to_yaml)
    end

    def pairs(mapping)
      mapping.children.each_slice(2).to_h { |key, value| [key.value, value] }
    end

    # The one in the checkout, otherwise the one on the PATH.
    def provisioner
      folders = [File.join(CHECKOUT, ".venv/bin"), *ENV.fetch("PATH", "").split(File::PATH_SEPARATOR)]
      folders.map { |folder| File.join(folder, "provisioner") }.find { |file| File.file?(file) && File.executable?(file) }
    end

    def not_found
      how = if RbConfig::CONFIG["host_os"] =~ /mswin|mingw|cygwin/
              "It does not run on Windows; vagrant/README.md explains how to use WSL."
            else
              "Install it, then run `vagrant up` again:\n" \
              "    cd #{CHECKOUT} && python3 -m venv .venv && .venv/bin/pip install ."
            end
      "==> The machines exist, but `provisioner` is neither in #{CHECKOUT}/.venv/bin nor on the PATH.\n" \
      "    #{how}\n    `vagrant up --no-provision` creates machines without it."
    end
  end
end
